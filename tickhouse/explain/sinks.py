"""Where one event is in the stores that Kafka Connect fills, as JSON-ready values."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from bson.decimal128 import Decimal128

from tickhouse.reconcile import cassandra, elasticsearch, mongodb
from tickhouse.reconcile.model import StreamKey
from tickhouse.settings import Settings

_SHOWN = ("index", "price", "qty", "side", "trade_time", "trade_time_us", "source")


def mongodb_documents(settings: Settings, event: str) -> list[dict[str, Any]]:
    """Return the event's documents of both collections.

    Raises:
        StoreUnavailable: MongoDB does not answer.
    """
    return [
        {"place": f"market.{collection}", **shown(document)}
        for collection in (mongodb.TRADES, mongodb.RAW)
        for document in mongodb.find(settings, collection, event)
    ]


def elasticsearch_documents(settings: Settings, event: str) -> list[dict[str, Any]]:
    """Return the event's documents; a second one lies in the index of another day and is a fault.

    Raises:
        StoreUnavailable: Elasticsearch does not answer.
    """
    found = elasticsearch.find(settings, event)
    return [{"place": document["index"], **shown(document)} for document in found]


def cassandra_rows(settings: Settings, key: StreamKey, event: str, time_us: int | None) -> list[dict[str, Any]]:
    """Return the event's rows; without a time there is no partition to look in, and none are found.

    Raises:
        StoreUnavailable: Cassandra does not answer.
    """
    if time_us is None:
        return []
    return [{"place": cassandra.TABLE, **shown(row)} for row in cassandra.find(settings, key, event, time_us)]


def shown(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of a document for people and for JSON, digits as the store has them."""
    found = {name: document[name] for name in _SHOWN if document.get(name) is not None}
    return {name: value if isinstance(value, int) else _text(value) for name, value in found.items()}


def _text(value: object) -> str:
    number = value.to_decimal() if isinstance(value, Decimal128) else value
    return format(number, "f") if isinstance(number, Decimal) else str(value)
