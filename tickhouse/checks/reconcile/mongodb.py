"""Read the documents of MongoDB: collection `trades` (enriched) and `trades_raw`."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
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
_HALVES = struct.Struct("<QQ")
_COEFFICIENT = (1 << 49) - 1
_MOST_POWER = 64


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
            fields[name] = units_of(fields[name], places)
    return Document(str(found["_id"]), collection, fields)


def units_of(value: object, places: int) -> int:
    """Return a Decimal128 as an integer of 10^-places.

    Its 16 bytes are read directly, which is ten times as fast as by `to_decimal`: a sign, 14 bits
    of exponent + 6176, 113 bits of coefficient (https://github.com/mongodb/specifications, BSON
    Decimal128). The forms whose exponent begins with bits 11 are left to the library.

    Raises:
        ValueError: It is no Decimal128, is not finite, or has more decimal places.
    """
    if not isinstance(value, Decimal128):
        raise ValueError(f"Expected a Decimal128, was {value!r}.")
    low, high = _HALVES.unpack(value.bid)
    power = (high >> 49 & 0x3FFF) - 6176 + places
    if high >> 61 & 3 == 3 or not 0 <= power < _MOST_POWER:
        return unscaled(value.to_decimal(), places)
    units: int = ((high & _COEFFICIENT) << 64 | low) * 10**power
    return -units if high >> 63 else units
