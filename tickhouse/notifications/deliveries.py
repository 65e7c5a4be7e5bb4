"""One row per notification and channel: claimed before it is sent, completed after.

A claim is a lock of the session in PostgreSQL, and the row. When a worker dies, its session ends
and the lock with it, so another worker can go on at once; it sees from the row that a try began
whose end is unknown.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg

from common.errors import StoreUnavailable

CONNECT_S = 10

_LOCK: LiteralString = "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))"
_UNLOCK: LiteralString = "SELECT pg_advisory_unlock(hashtextextended(%s, 0))"
# No row comes back when it was delivered already.
_CLAIM: LiteralString = """
INSERT INTO alerts.deliveries AS d (alert_id, channel) VALUES (%s, %s)
ON CONFLICT (alert_id, channel) DO UPDATE
SET state = 'sending', tries = d.tries + 1, updated_at = clock_timestamp() WHERE d.state <> 'delivered'
RETURNING tries
"""
_END: LiteralString = """
UPDATE alerts.deliveries SET state = %(state)s, error = %(error)s, updated_at = clock_timestamp(),
    delivered_at = CASE WHEN %(state)s = 'delivered' THEN clock_timestamp() END
WHERE alert_id = %(alert_id)s AND channel = %(channel)s AND state <> 'delivered'
"""


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to send one notification on one channel.

    Attributes:
        state: `claimed`; `delivered` when it was sent before; `busy` when another worker sends it.
        tries: The number of tries that began, this one included.
    """

    state: str
    tries: int = 0

    @property
    def may_be_a_repeat(self) -> bool:
        """Return whether an earlier try began; it may have sent the notification and died."""
        return self.tries > 1


class Deliveries:
    """The rows, over one session as `tickhouse_notifier`.

    Args:
        connection: In autocommit mode.
    """

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self._connection = connection

    @asynccontextmanager
    async def claimed(self, alert_id: str, channel: str) -> AsyncIterator[Claim]:
        """Claim a notification, and give the claim back.

        Raises:
            StoreUnavailable: PostgreSQL does not answer.
        """
        name = f"{alert_id}/{channel}"
        with _store_errors():
            has_lock = await self._value(_LOCK, [name])
        if not has_lock:
            yield Claim("busy")
            return
        try:
            with _store_errors():
                tries = await self._value(_CLAIM, [alert_id, channel])
            yield Claim("delivered") if tries is None else Claim("claimed", tries)
        finally:
            # With a lost connection there is no lock any more.
            if not self._connection.closed:
                with _store_errors():
                    await self._value(_UNLOCK, [name])

    async def end(self, alert_id: str, channel: str, state: str, error: str = "") -> None:
        """Record how a try ended: delivered, sending (it will be tried again) or dead.

        Raises:
            StoreUnavailable: PostgreSQL does not answer.
        """
        values = {"alert_id": alert_id, "channel": channel, "state": state, "error": error[:500]}
        with _store_errors():
            await self._connection.execute(_END, values)

    async def _value(self, query: LiteralString, values: list[str]) -> Any:
        row = await (await self._connection.execute(query, values)).fetchone()
        return row[0] if row else None


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[Deliveries]:
    """Open a session and close it.

    Raises:
        StoreUnavailable: PostgreSQL does not answer.
    """
    with _store_errors():
        connection = await psycopg.AsyncConnection.connect(
            dsn, autocommit=True, connect_timeout=CONNECT_S, application_name="tickhouse-notifications"
        )
    async with connection:
        yield Deliveries(connection)


@contextmanager
def _store_errors() -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        raise StoreUnavailable(
            f"PostgreSQL does not take or give deliveries: {str(error).strip()}",
            safe="Notifications wait in RabbitMQ.",
            next_command="tickhouse logs postgres",
        ) from error
