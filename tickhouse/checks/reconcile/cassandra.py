"""Read the rows of Cassandra's `market.trades`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from common.clients.cassandra import connected
from common.settings import Settings
from tickhouse.checks.reconcile.documents import (
    Document,
    Unreadable,
    exact_micros,
    micros,
    read_each,
    unscaled,
)

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


def read(row: Mapping[str, Any]) -> Document:
    """Return a row in canonical form.

    Raises:
        ValueError: The model cannot hold a value exactly.
        KeyError: A column is missing.
    """
    fields = dict(row)
    fields["trade_time"] = exact_micros(row["trade_time"], row["trade_time_us"])
    for name in ("minute", "bucket"):
        fields[name] = micros(row[name])
    for name, places in _PLACES.items():
        fields[name] = unscaled(row[name], places)
    return Document(str(row["event_id"]), TABLE, fields)
