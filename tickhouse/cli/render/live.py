"""Print the plan and the state of live jobs for people."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from rich.text import Text

from common.settings import home
from stack.engine.privileges import nearest_existing
from tickhouse.cli.output import console
from tickhouse.cli.render.tables import show_table
from tickhouse.live.estimate import JobEstimate, sizing
from tickhouse.live.jobs import JobOutcome
from tickhouse.live.plan import MarketPlan
from tickhouse.live.status import IS_WELL, JobStatus

# A disk that would be full so soon is shown in red.
SOON_DAYS = 14


def _say(text: str, *, style: str = "", markup: bool = True) -> None:
    """Print a line; the terminal wraps it, so that a pipe gets it whole."""
    console().print(text, style=style, markup=markup, soft_wrap=True)


def show_plans(plans: Sequence[MarketPlan]) -> None:
    """Print what each market takes and costs, and what changes."""
    for plan in plans:
        request = plan.job.request
        _say(f"[bold]{request.market}[/]  {request.selection.in_words}; {', '.join(request.streams)}")
        _say(f"  from {request.rest_url}" + ("" if request.is_rest_only else f", {request.ws_url}"))
        if plan.change == "unchanged":
            _say(f"  as before; symbols chosen {plan.job.chosen_at}", style="dim")
        for line in plan.differences:
            _say(f"  changes: {line}", markup=False)
        if plan.estimate is None:
            _say(f"  no estimate: {plan.problem}", markup=False)
        else:
            _show_estimate(plan.estimate)
    _show_disk([plan.estimate for plan in plans if plan.estimate])


def _show_estimate(estimate: JobEstimate) -> None:
    _say(f"  symbols  {estimate.symbols:,}")
    for stream in estimate.streams:
        received = "unknown" if stream.received_per_s is None else f"{stream.received_per_s:,.1f}"
        _say(
            f"  {stream.stream:10} received {received}/s, kept {stream.stored_per_s:,.1f}/s  [dim]({stream.source})[/]"
        )
    _say(f"  load     {estimate.cpu_percent:g} % of a core, {estimate.memory_mb:,} MB for the producer")
    if estimate.rest_round_s is not None:
        _say(f"  REST     a round over all symbols takes {estimate.rest_round_s:g} s")
    stores = ", ".join(f"{store} {_size(size)}" for store, size in estimate.disk_bytes_per_day.items())
    _say(f"  disk     {_size(estimate.bytes_per_day)} per day: {stores}")
    for note in estimate.notes:
        _say(f"  note: {note}", markup=False)


def _show_disk(estimates: Sequence[JobEstimate]) -> None:
    per_day = sum(estimate.bytes_per_day for estimate in estimates)
    if not per_day:
        return
    free = shutil.disk_usage(nearest_existing(home())).free
    days = free / per_day
    style = "red" if days < SOON_DAYS else ""
    _say(
        f"All together {_size(per_day)} per day: {_size(free)} free, enough for {days:,.0f} days without retention.",
        style=style,
    )
    _say(
        f"Rates: the exchange's 24-hour tickers. Bytes, CPU and memory: measured {sizing().measured_at} "
        "(docs/how-to/run-live.md).",
        style="dim",
    )


def _size(size: float) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 1e8 else f"{size / 1e6:,.1f} MB"


def show_outcomes(outcomes: Sequence[JobOutcome]) -> None:
    """Print what became of each market."""
    for outcome in outcomes:
        _say(f"{outcome.market}: {outcome.outcome}")
    if not outcomes:
        _say("There is no live job.")


def show_statuses(found: Sequence[JobStatus]) -> None:
    """Print the state of each job."""
    columns = (
        "market",
        "state",
        "events/s",
        "last event",
        "symbols",
        "gaps",
        "up",
        "pid",
        "selection",
        "streams",
        "note",
    )
    rows = [
        (
            one.market,
            Text(one.state, style="green" if one.state in IS_WELL else "red"),
            f"{sum(one.events_per_s.values()):,.1f}" if one.events_per_s else "-",
            _age(one),
            f"{one.symbols:,}" if one.symbols else "-",
            f"{one.producer['gaps_open_ids']:,}" if one.producer else "-",
            f"{one.uptime_s} s" if one.pid else "-",
            str(one.pid or "-"),
            one.selection or "-",
            ", ".join(one.streams) or "-",
            one.note or "-",
        )
        for one in found
    ]
    show_table(
        columns,
        rows,
        empty="There is no live job. Start one: tickhouse live start --market spot --quote USDT --top 20",
        right=("events/s", "symbols", "gaps"),
        optional=("up", "pid", "selection", "streams"),
    )


def _age(one: JobStatus) -> str:
    age_s = one.producer.get("last_event_age_s")
    return "-" if age_s is None else f"{age_s:,.1f} s ago"
