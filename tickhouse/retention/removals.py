"""The table `audit.removals`: which events retention removed, and from which store.

A row is written before the removal and names the events of one store. If the process dies between
the two, the row stays `planned`. The next run either finds the item again and removes it, or finds
it gone and marks the row.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, LiteralString

import psycopg

from common.errors import ServiceNotReady, StoreUnavailable
from tickhouse.retention.policy import Step

# An arbitrary number, the same in every process, so that DAG and command line never run at once.
LOCK = 7_411_021

_PLAN: LiteralString = """
INSERT INTO audit.removals (store, item, event_from, event_until, arrived_before, rows, bytes, why)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (store, item) DO UPDATE SET
    event_from = least(removals.event_from, excluded.event_from),
    event_until = greatest(removals.event_until, excluded.event_until),
    arrived_before = greatest(removals.arrived_before, excluded.arrived_before),
    rows = excluded.rows, bytes = excluded.bytes, why = excluded.why,
    state = 'planned', planned_at = clock_timestamp(), removed_at = NULL
"""
_MARK_REMOVED: LiteralString = """
UPDATE audit.removals SET state = 'removed', removed_at = clock_timestamp() WHERE store = %s AND item = %s
"""
# An earlier run planned the removal, and this run does not find the item. So it was removed, but
# that run died before it could mark the row.
_MARK_GONE: LiteralString = """
UPDATE audit.removals SET state = 'removed', removed_at = clock_timestamp()
WHERE store = %s AND state = 'planned' AND NOT item = ANY (%s)
"""


class Removals:
    """The table, over a connection that holds the lock of retention.

    Args:
        connection: Autocommit, as tickhouse_owner.
    """

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def plan(self, store: str, step: Step) -> None:
        """Record a step before it is done; a step that removes no event is not recorded."""
        if step.covers is not None:
            values = [store, step.item, *step.covers, step.rows, step.bytes, step.why]
            self._connection.execute(_PLAN, values)

    def mark_removed(self, store: str, step: Step) -> None:
        """Mark a step as done."""
        if step.covers is not None:
            self._connection.execute(_MARK_REMOVED, [store, step.item])

    def mark_gone(self, store: str, items: list[str]) -> None:
        """Mark what an earlier run planned and this run does not find.

        Args:
            store: Name of the store.
            items: The items that are planned now.
        """
        self._connection.execute(_MARK_GONE, [store, items])


@contextmanager
def locked(dsn: str) -> Iterator[Removals]:
    """Open the table under the lock of retention.

    Raises:
        ServiceNotReady: Another run of retention has the lock.
        StoreUnavailable: PostgreSQL does not answer.
    """
    try:
        with psycopg.connect(
            dsn, connect_timeout=10, autocommit=True, application_name="tickhouse-retention"
        ) as session:
            (has_lock,) = session.execute("SELECT pg_try_advisory_lock(%s)", [LOCK]).fetchone() or (False,)
            if not has_lock:
                raise ServiceNotReady(
                    "Retention is being applied by another process.",
                    safe="That run continues.",
                    next_command="tickhouse retention plan",
                )
            yield Removals(session)
    except psycopg.Error as error:
        raise StoreUnavailable(
            f"PostgreSQL does not answer: {str(error).strip()}",
            safe="Nothing is removed without a record.",
            next_command="tickhouse logs postgres",
        ) from error
