"""Documents of Elasticsearch: indices `crypto-trades-<day>` and `crypto-ticks-<day>`, as their `_source` has them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from tickhouse.reconcile.documents import Document, Unreadable, micros, read_each, unscaled
from tickhouse.settings import Settings
from tickhouse.stores.elasticsearch import connected

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
    """Yield (event id, fault) of every tick: id, index and day of each must agree.

    Raises:
        StoreUnavailable: Elasticsearch does not answer.
    """
    for hit in _hits(settings, TICKS, ["event_id", "event_time"]):
        source = hit["_source"]
        wanted = index_of(TICKS, micros(datetime.fromisoformat(source["event_time"])))
        is_right = hit["_id"] == source["event_id"] and hit["_index"] == wanted
        yield str(hit["_id"]), "" if is_right else f"it lies in {hit['_index']} under {hit['_id']}"


def find(settings: Settings, event: str) -> list[dict[str, Any]]:
    """Return the documents of an event, each with its index.

    Raises:
        StoreUnavailable: Elasticsearch does not answer.
    """
    with connected(settings, "reader") as client:
        answer = client.search(index="crypto-*", query={"ids": {"values": [event]}}, size=10)
    return [{"index": hit["_index"], **hit["_source"]} for hit in answer["hits"]["hits"]]


def _hits(settings: Settings, prefix: str, fields: list[str] | None = None) -> Iterator[Mapping[str, Any]]:
    from elasticsearch.helpers import scan

    with connected(settings, "reader") as client:
        source: Any = fields if fields is not None else True
        yield from scan(client, index=f"{prefix}*", size=_PAGE, query={"_source": source, "sort": ["_doc"]})


def read(hit: Mapping[str, Any]) -> Document:
    """Return a document in canonical form.

    Raises:
        ValueError: A value is none of the model, or the document lies in the index of another day.
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
    """Return the index of a moment's day."""
    return f"{prefix}{datetime.fromtimestamp(time_us // 10**6, UTC):%Y.%m.%d}"


def _decimal(value: object) -> Decimal:
    # Text, so that no reader makes a float of it.
    if not isinstance(value, str):
        raise ValueError(f"Expected a decimal as text, was {value!r}.")
    try:
        return Decimal(value)
    except InvalidOperation as error:
        raise ValueError(f"Expected a decimal, was {value!r}.") from error
