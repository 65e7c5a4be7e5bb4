"""Plan and apply retention, each store separately: one that is down does not delay the others.

A step that removes events has this order. A process may die at any point, and the next run
continues from there:

1. the removal is recorded in `audit.removals`, so that `tickhouse reconcile` exempts the events;
2. the store removes them;
3. the record is marked as removed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime

from common.errors import StoreUnavailable, TickhouseError
from common.settings import Settings
from tickhouse.retention.policy import Policy, StorePlan
from tickhouse.retention.removals import Removals, locked

Report = Callable[[str], None]


def plan(policies: Iterable[Policy], now: datetime) -> list[StorePlan]:
    """Return the plan of each store; the plan of a store that does not answer is an error."""
    return [_plan_store(policy, now) for policy in policies]


def _plan_store(policy: Policy, now: datetime) -> StorePlan:
    try:
        return policy.plan(now)
    except TickhouseError as error:
        return StorePlan(policy.store, policy.declared, error=error.message)


def apply(settings: Settings, policies: Iterable[Policy], now: datetime, report: Report) -> list[StorePlan]:
    """Do the steps of each store, and return the plans with the number of steps done.

    Args:
        settings: Addresses.
        policies: Retention of each store.
        now: The time from which ages are counted.
        report: Receives one line per step.

    Raises:
        ServiceNotReady: Another run of retention has the lock.
        StoreUnavailable: PostgreSQL, which holds `audit.removals`, does not answer.
    """
    with locked(settings.database_dsn("owner")) as record:
        return [_apply_plan(policy, _plan_store(policy, now), record, now, report) for policy in policies]


def _apply_plan(policy: Policy, planned: StorePlan, record: Removals, now: datetime, report: Report) -> StorePlan:
    done = 0
    if planned.error:
        report(f"{planned.store}: {planned.error}")
        return planned
    record.mark_gone(planned.store, [step.item for step in planned.steps])
    for step in planned.steps:
        report(f"{planned.store}: {step.action} {step.item} ({step.why})")
        record.plan(planned.store, step)
        try:
            policy.do(step, now)
        except TickhouseError as error:
            report(f"{planned.store}: {error.message}")
            return replace(planned, done=done, error=error.message)
        record.mark_removed(planned.store, step)
        done += 1
    return replace(planned, done=done)


def require_all_done(plans: Iterable[StorePlan]) -> None:
    """Check that retention worked on every store.

    Raises:
        StoreUnavailable: It failed on some; the message names each. The others are done.
    """
    failed = [f"{plan.store}: {plan.error}" for plan in plans if plan.error]
    if failed:
        raise StoreUnavailable(
            f"Retention failed on some stores. {' '.join(failed)}",
            safe="Nothing is lost: the next run removes what is left.",
            next_command="tickhouse retention plan",
        )
