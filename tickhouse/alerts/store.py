"""What the watcher keeps in PostgreSQL: offsets, states and alerts, changed together.

Delivery guarantee: at least once, with the same id. One transaction moves the offsets, stores the
states that changed, and adds the alerts that rang. Alerts are sent to `crypto.alerts` after that,
from the table, and marked when Kafka has them. A crash between the two sends the same bytes again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString, NamedTuple

import psycopg

from common.clients.postgres import LastingConnection
from common.errors import StoreUnavailable
from tickhouse.alerts.alert import Alert, encode
from tickhouse.alerts.state import RuleState, read_state
from tickhouse.alerts.windows import UNITS, CandleStream, PriceBar

MOST_PENDING = 500
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_INSERT: LiteralString = """
INSERT INTO alerts.alerts (alert_id, rule, kind, severity, market, symbol, raised_at, is_historic, document)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (alert_id) DO NOTHING
"""
_SAVE_STATE: LiteralString = """
INSERT INTO alerts.rule_states (key, state) VALUES (%s, %s)
ON CONFLICT (key) DO UPDATE SET state = excluded.state, updated_at = clock_timestamp()
"""
_SAVE_OFFSET: LiteralString = """
INSERT INTO alerts.read_offsets (topic, partition, next_offset) VALUES (%s, %s, %s)
ON CONFLICT (topic, partition) DO UPDATE SET next_offset = excluded.next_offset
"""
_PENDING: LiteralString = """
SELECT alert_id, document::text FROM alerts.alerts WHERE published_at IS NULL ORDER BY number LIMIT %s
"""
_PUBLISHED: LiteralString = "UPDATE alerts.alerts SET published_at = clock_timestamp() WHERE alert_id = ANY(%s)"
_HISTORY: LiteralString = """
SELECT open_time, open, high, low, close, volume FROM market.candles_1m
WHERE market = %s AND symbol = %s AND stream = %s AND open_time >= %s AND open_time < %s ORDER BY open_time
"""

Offsets = Mapping[tuple[str, int], int]


class Pending(NamedTuple):
    """An alert that Kafka does not have yet, with the bytes of its message."""

    alert_id: str
    value: bytes


class AlertStore:
    """One connection as `tickhouse_watcher`; it is opened again when it was lost.

    Args:
        dsn: The database.
    """

    def __init__(self, dsn: str) -> None:
        self._connection = LastingConnection(dsn, "tickhouse-alerts")

    def offsets(self) -> dict[tuple[str, int], int]:
        """Return the next offset by topic and partition.

        Raises:
            StoreUnavailable: PostgreSQL does not answer.
        """
        with self._transaction() as connection:
            rows = connection.execute("SELECT topic, partition, next_offset FROM alerts.read_offsets").fetchall()
        return {(topic, partition): offset for topic, partition, offset in rows}

    def states(self) -> dict[str, RuleState]:
        """Return what the rules remember.

        Raises:
            StoreUnavailable: PostgreSQL does not answer.
        """
        with self._transaction() as connection:
            rows = connection.execute("SELECT key, state FROM alerts.rule_states").fetchall()
        return {key: read_state(state) for key, state in rows}

    def commit(self, alerts: Sequence[Alert], states: Mapping[str, RuleState], offsets: Offsets) -> None:
        """Store alerts, states and offsets, all or none.

        Raises:
            StoreUnavailable: PostgreSQL does not answer; nothing, or all of it, was stored.
        """
        with self._transaction() as connection, connection.cursor() as cursor:
            cursor.executemany(_INSERT, [_row(alert) for alert in alerts])
            cursor.executemany(_SAVE_STATE, [(name, json.dumps(states[name].document())) for name in sorted(states)])
            cursor.executemany(_SAVE_OFFSET, [(*place, offset) for place, offset in sorted(offsets.items())])

    def pending(self) -> list[Pending]:
        """Return alerts that Kafka does not have yet, oldest first.

        Raises:
            StoreUnavailable: PostgreSQL does not answer.
        """
        with self._transaction() as connection:
            rows = connection.execute(_PENDING, [MOST_PENDING]).fetchall()
        return [Pending(alert_id, document.encode()) for alert_id, document in rows]

    def mark_published(self, alert_ids: Sequence[str]) -> None:
        """Note that Kafka has these alerts.

        Raises:
            StoreUnavailable: PostgreSQL does not answer; they are sent again.
        """
        with self._transaction() as connection:
            connection.execute(_PUBLISHED, [list(alert_ids)])

    def history(self, stream: CandleStream, from_us: int, until_us: int) -> list[PriceBar]:
        """Return the bars of a stream in [from, until).

        Raises:
            StoreUnavailable: PostgreSQL does not answer.
        """
        with self._transaction() as connection:
            rows = connection.execute(_HISTORY, [*stream, _time(from_us), _time(until_us)]).fetchall()
        return [
            PriceBar((at - _EPOCH) // timedelta(microseconds=1), *(int(n * UNITS) for n in row)) for at, *row in rows
        ]

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[psycopg.Connection[Any]]:
        try:
            with self._connection.transaction() as connection:
                yield connection
        except psycopg.Error as error:
            raise StoreUnavailable(
                f"PostgreSQL did not take or give alerts: {str(error).strip()}",
                safe="The watcher goes on from its stored offsets.",
                next_command="tickhouse logs postgres",
            ) from error


def _row(alert: Alert) -> tuple[Any, ...]:
    return (
        *(alert.alert_id, alert.rule, alert.kind, alert.severity, alert.market, alert.symbol),
        *(_time(alert.raised_at_us), alert.is_historic, encode(alert.document()).decode()),
    )


def _time(time_us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=time_us)
