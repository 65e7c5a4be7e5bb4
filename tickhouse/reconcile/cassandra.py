"""Rows of Cassandra's `market.trades`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from tickhouse.reconcile.documents import HOUR_US, Document, Unreadable, exact_micros, micros, read_each, unscaled
from tickhouse.reconcile.model import StreamKey
from tickhouse.settings import Settings
from tickhouse.stores.cassandra import connected

TABLE = "market.trades"
_PAGE = 5_000
_PLACES = {"price": 8, "qty": 8, "quote_qty": 16}


def documents(settings: Settings) -> Iterator[Document | Unreadable]:
    """Yield every row.

    Raises:
        StoreUnavailable: Cassandra does not answer.
    """
    from cassandra.query import SimpleStatement

    with connected(settings, "reader") as session:
        found = session.execute(SimpleStatement(f"SELECT * FROM {TABLE}", fetch_size=_PAGE))  # noqa: S608 - a constant
        yield from read_each(found, lambda row: str(row["event_id"]), read)


def find(settings: Settings, key: StreamKey, event: str, time_us: int) -> list[dict[str, Any]]:
    """Return the rows of an event, looked up in the partition of its symbol and hour.

    Raises:
        StoreUnavailable: Cassandra does not answer.
    """
    hour = datetime.fromtimestamp((time_us - time_us % HOUR_US) // 10**6, UTC)
    with connected(settings, "reader") as session:
        found = session.execute(
            f"SELECT * FROM {TABLE} WHERE symbol = %s AND bucket = %s",  # noqa: S608 - a constant
            (key.symbol, hour),
        )
        return [row for row in found if row["event_id"] == event]


def read(row: Mapping[str, Any]) -> Document:
    """Return a row in canonical form.

    Raises:
        ValueError: A value is none of the model.
        KeyError: A column is missing.
    """
    fields = dict(row)
    fields["trade_time"] = exact_micros(row["trade_time"], row["trade_time_us"])
    for name in ("minute", "bucket"):
        fields[name] = micros(row[name])
    for name, places in _PLACES.items():
        fields[name] = unscaled(row[name], places)
    return Document(str(row["event_id"]), TABLE, fields)
