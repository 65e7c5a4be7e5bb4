"""Ask the stores that Kafka Connect fills about one event; results are JSON-ready values."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from bson.decimal128 import Decimal128

from common.clients import cassandra, elasticsearch, mongodb
from common.event_ids import StreamName
from common.settings import Settings

COLLECTIONS = ("trades", "trades_raw")
INDICES = "crypto-*"
HOUR_US = 3_600_000_000
_SHOWN = ("index", "price", "qty", "side", "trade_time", "trade_time_us", "source")


def mongodb_documents(settings: Settings, event: str) -> list[dict[str, Any]]:
    """Return the event's documents of both collections.

    Raises:
        StoreUnavailable: MongoDB does not answer.
    """
    with mongodb.connected(settings) as database:
        return [
            {"place": f"{mongodb.DATABASE}.{collection}", **shown(document)}
            for collection in COLLECTIONS
            for document in database[collection].find({"_id": event})
        ]


def elasticsearch_documents(settings: Settings, event: str) -> list[dict[str, Any]]:
    """Return the event's documents; a second one is in the index of another month and is a fault.

    Raises:
        StoreUnavailable: Elasticsearch does not answer.
    """
    with elasticsearch.connected(settings, "reader") as client:
        answer = client.search(index=INDICES, query={"ids": {"values": [event]}}, size=10)
    found = [{"index": hit["_index"], **hit["_source"]} for hit in answer["hits"]["hits"]]
    return [{"place": document["index"], **shown(document)} for document in found]


def cassandra_rows(settings: Settings, stream: StreamName, event: str, time_us: int | None) -> list[dict[str, Any]]:
    """Return the event's rows, looked up in the partition of its symbol and hour.

    There are none when the event's time is unknown.

    Raises:
        StoreUnavailable: Cassandra does not answer.
    """
    if time_us is None:
        return []
    hour = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time_us - time_us % HOUR_US)
    query = f"SELECT * FROM {cassandra.TRADES} WHERE symbol = %s AND bucket = %s"  # noqa: S608 - a constant
    with cassandra.connected(settings, "reader") as session:
        rows = [row for row in session.execute(query, (stream.symbol, hour)) if row["event_id"] == event]
    return [{"place": cassandra.TRADES, **shown(row)} for row in rows]


def shown(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the main fields of a document as JSON-ready values, with the store's digits."""
    found = {name: document[name] for name in _SHOWN if document.get(name) is not None}
    return {name: value if isinstance(value, int) else _text(value) for name, value in found.items()}


def _text(value: object) -> str:
    number = value.to_decimal() if isinstance(value, Decimal128) else value
    return format(number, "f") if isinstance(number, Decimal) else str(value)
