"""Read the documents of Elasticsearch (`_source`).

They are in indices `crypto-trades-<month>` and `crypto-ticks-<month>`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from common.clients.elasticsearch import connected
from common.settings import Settings
from tickhouse.checks.reconcile.documents import Document, Unreadable, micros, read_each, unscaled

TRADES = "crypto-trades-"
TICKS = "crypto-ticks-"
_TIMES = ("trade_time", "minute", "bucket")
_PLACES = {"price": 8, "qty": 8, "quote_qty": 16}
_PAGE = 2_000


def documents(settings: Settings) -> Iterator[Document | Unreadable]:
    """Yield every document of the trades.

    Raises:
        StoreUnavailable: Elasticsearch does not answer.
    """
    yield from read_each(_hits(settings, TRADES), lambda hit: str(hit["_id"]), read)


def tick_ids(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield (event id, fault) of every tick: id, index and month of each must agree.

    Raises:
        StoreUnavailable: Elasticsearch does not answer.
    """
    for hit in _hits(settings, TICKS, ["event_id", "event_time"]):
        source = hit["_source"]
        wanted = index_of(TICKS, micros(datetime.fromisoformat(source["event_time"])))
        is_right = hit["_id"] == source["event_id"] and hit["_index"] == wanted
        yield str(hit["_id"]), "" if is_right else f"it is in {hit['_index']} under {hit['_id']}"


def _hits(settings: Settings, prefix: str, fields: list[str] | None = None) -> Iterator[Mapping[str, Any]]:
    from elasticsearch.helpers import scan

    with connected(settings, "reader") as client:
        source: Any = fields if fields is not None else True
        yield from scan(client, index=f"{prefix}*", size=_PAGE, query={"_source": source, "sort": ["_doc"]})


def read(hit: Mapping[str, Any]) -> Document:
    """Return a document in canonical form.

    Raises:
        ValueError: The model cannot hold a value exactly, or the document is in the index of
            another month.
        KeyError: A field is missing.
    """
    fields = dict(hit["_source"])
    for name in _TIMES:
        fields[name] = micros(datetime.fromisoformat(fields[name]))
    for name, places in _PLACES.items():
        fields[name] = unscaled(_decimal(fields[name]), places)
    wanted = index_of(TRADES, fields["trade_time"])
    if hit["_index"] != wanted:
        raise ValueError(f"Expected it in {wanted}, was in {hit['_index']}.")
    if hit["_id"] != fields["event_id"]:
        raise ValueError(f"Expected the id {fields['event_id']}, was {hit['_id']}.")
    return Document(str(hit["_id"]), str(hit["_index"]), fields)


def index_of(prefix: str, time_us: int) -> str:
    """Return the index of a moment's month."""
    return f"{prefix}{datetime.fromtimestamp(time_us // 10**6, UTC):%Y.%m}"


def _decimal(value: object) -> Decimal:
    # Decimals are stored as text, so that no reader turns them into a float.
    if not isinstance(value, str):
        raise ValueError(f"Expected a decimal as text, was {value!r}.")
    try:
        return Decimal(value)
    except InvalidOperation as error:
        raise ValueError(f"Expected a decimal, was {value!r}.") from error
