"""Start and stop live jobs; both may be repeated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from common.live_job import MARKETS, job_file, write_job
from producer.market_lease import held, holder
from stack.engine import supervisor
from stack.engine.lifecycle import remove_services, up
from stack.engine.progress import PhaseReporter, ignore_phase

if TYPE_CHECKING:
    from tickhouse.live.plan import MarketPlan

Outcome = Literal["started", "restarted", "unchanged", "stopped", "was not running"]


@dataclass(frozen=True)
class JobOutcome:
    """What became of one market's job."""

    market: str
    outcome: Outcome


def service_of(market: str) -> str:
    """Return the service, and program, of a market's job."""
    return f"live_{market}"


def start(home: Path, plans: Sequence[MarketPlan], report: PhaseReporter = ignore_phase) -> list[JobOutcome]:
    """Start the jobs of some plans, with Kafka and the registry; restart those that changed.

    The jobs of other markets go on.

    Raises:
        LeaseHeld: Another producer works on one of the markets; nothing was changed.
        ServiceNotReady: A producer does not start. Its job stays wanted: supervisord tries again.
    """
    markets = [plan.job.request.market for plan in plans]
    before = _process_ids(markets)
    for market in markets:
        _refuse_other_producer(home, market, before[market])
    for plan in plans:
        if plan.change != "unchanged":
            write_job(home, plan.job)
    up(services=[service_of(market) for market in markets], report=report)
    after = _process_ids(markets)
    return [JobOutcome(market, _outcome(before[market], after[market])) for market in markets]


def _process_ids(markets: Iterable[str]) -> Mapping[str, int]:
    states = supervisor.states()
    return {market: states[name].pid if (name := service_of(market)) in states else 0 for market in markets}


def _refuse_other_producer(home: Path, market: str, own_pid: int) -> None:
    """Refuse a market on which a producer works that is not this job's."""
    pid = holder(home, market)
    # A holder that has not written its process id yet is this job's, if that runs.
    if pid is not None and pid != own_pid and not (pid == 0 and own_pid):
        raise held(home, market)


def _outcome(before: int, after: int) -> Outcome:
    if not before:
        return "started"
    return "unchanged" if before == after else "restarted"


def stop(home: Path, markets: Sequence[str] = ()) -> list[JobOutcome]:
    """Stop the jobs of some markets, or all, and forget them; data stays.

    A producer flushes what is in flight and saves its ledger before it ends.
    """
    chosen = list(markets) or [market for market in MARKETS if is_known(home, market)]
    for market in chosen:  # first, so that no `up` starts it again meanwhile
        job_file(home, market).unlink(missing_ok=True)
    ran = remove_services([service_of(market) for market in chosen])
    return [JobOutcome(market, "stopped" if service_of(market) in ran else "was not running") for market in chosen]


def is_known(home: Path, market: str) -> bool:
    """Return whether a market has a job, or supervisord knows one."""
    return job_file(home, market).exists() or service_of(market) in supervisor.states()
