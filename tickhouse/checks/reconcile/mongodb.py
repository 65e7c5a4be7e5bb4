"""Read the documents of MongoDB: collection `trades` (enriched) and `trades_raw`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from bson.decimal128 import Decimal128

from common.clients.mongodb import connected
from common.settings import Settings
from tickhouse.checks.reconcile.documents import Document, Unreadable, exact_micros, read_each, unscaled

TRADES = "trades"
RAW = "trades_raw"
_TIMES = ("trade_time", "minute", "bucket", "event_time", "ingest_time")
_PLACES = {"price": 8, "qty": 8, "quote_qty": 16}
_BATCH = 5_000


def documents(settings: Settings, collection: str) -> Iterator[Document | Unreadable]:
    """Yield every document of a collection.

    Raises:
        StoreUnavailable: MongoDB does not answer.
    """
    with connected(settings) as database:
        found = database[collection].find({}, batch_size=_BATCH)
        yield from read_each(found, lambda document: str(document["_id"]), lambda document: read(document, collection))


def read(found: Mapping[str, Any], collection: str) -> Document:
    """Return a document in canonical form.

    Raises:
        ValueError: The model cannot hold a value exactly.
        KeyError: A field is missing.
    """
    fields = dict(found)
    for name in _TIMES:
        if name in fields:
            fields[name] = exact_micros(fields[name], fields[f"{name}_us"])
    for name, places in _PLACES.items():
        if name in fields:
            fields[name] = unscaled(_decimal(fields[name]), places)
    return Document(str(found["_id"]), collection, fields)


def _decimal(value: object) -> Decimal:
    if not isinstance(value, Decimal128):
        raise ValueError(f"Expected a Decimal128, was {value!r}.")
    return value.to_decimal()
