"""The state of each live job, from what it is, and not from what was asked for."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from common.errors import ServiceNotReady
from common.live_job import MARKETS, LiveJob, job_file, read_job
from common.settings import ports
from producer.market_lease import holder
from stack.engine import supervisor
from tickhouse.live.jobs import is_known, service_of
from tickhouse.live.producer_metrics import delivered, gauge, producer_section, samples

ANSWER_S: Final = 5.0
# Rates are measured over this long.
RATE_S: Final = 1.0

State = Literal[
    "running",  # events arrive, or would
    "polling",  # trades by REST alone: asked for, or the WebSocket is refused
    "connecting",  # it runs and has no connection
    "starting",  # it does not serve its metrics yet
    "restarting",  # it ended, and supervisord starts it again
    "failed",  # it ended, and nobody starts it again
    "stopped",  # it is wanted, and does not run
    "other producer",  # there is no job, but a producer that was started otherwise
]
# States in which trades arrive.
IS_WELL: Final = ("running", "polling")


@dataclass(frozen=True)
class JobStatus:
    """One market's job.

    Attributes:
        pid: Of the producer; 0 while there is none.
        symbols: How many symbols the producer takes.
        events_per_s: Delivered to Kafka, by stream; empty when it was not measured.
        producer: What the producer says of itself; empty while it does not answer.
        note: What a person should know.
    """

    market: str
    state: State
    is_wanted: bool
    selection: str = ""
    streams: tuple[str, ...] = ()
    symbols: int = 0
    chosen_at: str = ""
    pid: int = 0
    uptime_s: int = 0
    metrics_port: int = 0
    events_per_s: Mapping[str, float] = field(default_factory=dict)
    producer: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the values for JSON."""
        return asdict(self)


def wanted_or_running(home: Path) -> list[str]:
    """Return the markets that have a job, or whose program supervisord knows."""
    return [market for market in MARKETS if is_known(home, market)]


def statuses(home: Path, *, sleep: Callable[[float], None] = time.sleep) -> list[JobStatus]:
    """Return the status of every job, and of producers without a job; rates take a second."""
    markets = [market for market in MARKETS if is_known(home, market) or holder(home, market) is not None]
    before = {market: delivered(_samples(market) or []) for market in markets}
    if any(before.values()):
        sleep(RATE_S)
    return [_with_rates(job_status(home, market), before[market]) for market in markets]


def _with_rates(status: JobStatus, before: Mapping[str, float]) -> JobStatus:
    after = delivered(_samples(status.market) or []) if before else {}
    rates = {stream: round((after[stream] - before[stream]) / RATE_S, 1) for stream in after if stream in before}
    return JobStatus(**{**asdict(status), "events_per_s": rates})


def _samples(market: str) -> list[Any] | None:
    try:
        return samples(ports()[f"live_{market}_metrics"], ANSWER_S, service_of(market))
    except ServiceNotReady:
        return None


def job_status(home: Path, market: str) -> JobStatus:
    """Return the status of one market's job, without rates.

    Raises:
        ConfigurationError: The job's file does not hold a job.
    """
    job, state = read_job(job_file(home, market)), supervisor.state(service_of(market))
    found = _samples(market) if state.is_alive else None
    section = producer_section(found) if found is not None else {}
    is_polling = gauge(found or [], "is_rest_only") or bool(section.get("is_websocket_blocked"))
    verdict = state_of(state, section, is_polling=bool(is_polling))
    note = _note(home, market, job, verdict, state)
    if verdict == "stopped" and job is None:
        verdict = "other producer"
    return JobStatus(
        market=market,
        state=verdict,
        is_wanted=job is not None,
        **_of_job(job),
        symbols=gauge(found or [], "symbols"),
        pid=state.pid,
        uptime_s=int(time.time() - state.started_at) if state.pid else 0,
        metrics_port=ports()[f"live_{market}_metrics"],
        producer=section,
        note=note,
    )


def _of_job(job: LiveJob | None) -> dict[str, Any]:
    if job is None:
        return {}
    request = job.request
    return {"selection": request.selection.in_words, "streams": request.streams, "chosen_at": job.chosen_at}


def state_of(state: supervisor.ProgramState, section: Mapping[str, Any], *, is_polling: bool) -> State:
    """Return the state of a job from its program's state and its producer's metrics (pure)."""
    by_program: dict[str, State] = {
        "BACKOFF": "restarting",
        "FATAL": "failed",
        "EXITED": "failed",
        "UNKNOWN": "failed",
        "STOPPED": "stopped",
        "STOPPING": "stopped",
        "ABSENT": "stopped",
    }
    if state.state in by_program:
        return by_program[state.state]
    if not section:
        return "starting"
    if is_polling:
        return "polling"
    return "running" if section["connections"] else "connecting"


def _note(home: Path, market: str, job: LiveJob | None, verdict: State, state: supervisor.ProgramState) -> str:
    pid = holder(home, market)
    if pid is not None and pid not in (0, state.pid):
        return f"process {pid} works on this market"
    if job is None and state.is_alive:
        return "it has no job any more: tickhouse live stop ends it"
    if verdict == "stopped":
        return "the next tickhouse up of the core starts it"
    if verdict in ("restarting", "failed"):
        return f"{state.detail or 'it ended'}; tickhouse logs {service_of(market)}"
    return ""


def section_of(home: Path, market: str) -> dict[str, Any]:
    """Return a job's part of `tickhouse status`."""
    status = job_status(home, market)
    head = {"state": status.state, "symbols": status.symbols, "streams": ", ".join(status.streams)}
    tail = {"note": status.note} if status.note else {}
    return {**head, **status.producer, **tail}
