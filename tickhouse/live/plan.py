"""The plan of a start: the job of each market, what it costs, and what changes (no writes)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx

from common.errors import ExchangeUnavailable
from common.live_job import LiveJob, LiveRequest, job_file, read_job
from common.market_kind import refuse_other
from tickhouse.live.estimate import JobEstimate, estimate, sizing
from tickhouse.live.market_data import MarketData, fetch, fetch_trades_per_aggregate
from tickhouse.live.selection import choose, differences

Change = Literal["new", "changed", "unchanged"]
# Weight per minute when exchangeInfo does not say it: the lowest of any market.
_LEAST_WEIGHT = 1200


@dataclass(frozen=True)
class MarketPlan:
    """What a start does on one market.

    Attributes:
        job: The job.
        change: Whether there was another job before.
        differences: In words, what changes.
        estimate: What it costs; None when the exchange did not answer for an unchanged job.
        problem: Why there is no estimate.
    """

    job: LiveJob
    change: Change
    differences: tuple[str, ...] = ()
    estimate: JobEstimate | None = None
    problem: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the values for JSON."""
        request = self.job.request
        return {
            "market": request.market,
            "selection": request.selection.in_words,
            "symbols": list(self.job.symbols),
            "streams": list(request.streams),
            "sample_s": request.sample_s,
            "rest_only": request.is_rest_only,
            "rest_url": request.rest_url,
            "ws_url": request.ws_url,
            "chosen_at": self.job.chosen_at,
            "change": self.change,
            "differences": list(self.differences),
            "estimate": self.estimate.as_dict() if self.estimate else None,
            "problem": self.problem,
        }


def plan(
    home: Path,
    requests: Iterable[LiveRequest],
    http: httpx.Client,
    *,
    choose_again: bool = False,
    clock: Callable[[], float] = time.time,
) -> list[MarketPlan]:
    """Return the plan of each request.

    An unchanged request keeps the symbols that were chosen before, unless `choose_again`.

    Raises:
        ExchangeUnavailable: The exchange does not answer, and a job is new or changed.
        UnknownName: A symbol or quote asset is not traded.
        ConfigurationError: The home holds trades of another kind of market.
    """
    return [_plan(home, request, http, choose_again=choose_again, clock=clock) for request in requests]


def _plan(
    home: Path, request: LiveRequest, http: httpx.Client, *, choose_again: bool, clock: Callable[[], float]
) -> MarketPlan:
    present = read_job(job_file(home, request.market))
    is_kept = present is not None and present.request == request and not choose_again
    try:
        data = fetch(http, request)
    except ExchangeUnavailable as error:
        if present is not None and is_kept:
            return MarketPlan(present, "unchanged", problem=error.message)
        raise
    refuse_other(home, "simulated" if data.is_simulated else "real")
    named, taken = choose(request, data)
    if present is not None and is_kept:
        costs = _estimate(request, data, list(present.symbols) or taken, http)
        return MarketPlan(present, "unchanged", estimate=costs)
    chosen_at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(clock()))
    job = LiveJob(request=request, symbols=named, chosen_at=chosen_at)
    costs = _estimate(request, data, taken, http)
    if present is None:
        return MarketPlan(job, "new", estimate=costs)
    changes = differences(present.request, request) or _chosen_changes(present.symbols, named)
    if not changes:  # chosen again, with the same result
        return MarketPlan(present, "unchanged", estimate=costs)
    return MarketPlan(job, "changed", tuple(changes), costs)


def _chosen_changes(before: tuple[str, ...], after: tuple[str, ...]) -> list[str]:
    signs = [f"+{name}" for name in sorted(set(after) - set(before))]
    signs += [f"-{name}" for name in sorted(set(before) - set(after))]
    return [f"symbols: {' '.join(signs)}"] if signs else []


def _estimate(request: LiveRequest, data: MarketData, symbols: list[str], http: httpx.Client) -> JobEstimate:
    joined = None
    if "aggTrade" in request.streams:
        with suppress(ExchangeUnavailable):  # then the estimate says that it is an upper bound
            joined = fetch_trades_per_aggregate(http, request, data, symbols)
    weight = data.info.weight_per_minute() or _LEAST_WEIGHT
    return estimate(request, data, symbols, trades_per_aggregate=joined, weight_per_minute=weight, costs=sizing())
