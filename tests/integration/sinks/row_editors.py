"""Corrupt one row of a store, in the five ways in which a row can be wrong, and restore it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Protocol

from bson.decimal128 import Decimal128

from common.clients import cassandra, elasticsearch, mongodb
from common.settings import Settings
from tickhouse.checks.reconcile.model import CheckedTrade

MINUTE = timedelta(minutes=1)
MINUTE_US = 60_000_000
HOUR_US = 60 * MINUTE_US
STEP = Decimal("0.00000001")
OTHER = "XRPETH"


class RowEditor(Protocol):
    """Corrupts and restores rows of one store."""

    def corrupt(self, trade: CheckedTrade, how: str) -> Callable[[], None]:
        """Corrupt the row of a trade, and return a function that restores it."""
        ...


class MongoRowEditor:
    """Corrupts rows in a collection of MongoDB."""

    def __init__(self, settings: Settings, collection: str) -> None:
        self._settings, self._collection = settings, collection

    def corrupt(self, trade: CheckedTrade, how: str) -> Callable[[], None]:
        with mongodb.connected(self._settings) as database:
            right = database[self._collection].find_one({"_id": trade.event_id})
        assert right is not None
        second = f"{trade.event_id}0"
        changes: dict[str, Mapping[str, Any] | None] = {
            "deleted": None,
            "doubled": {"_id": second},
            "altered": {"price": Decimal128(right["price"].to_decimal() + STEP)},
            "moved": {"symbol": OTHER},
            "shifted": {
                "trade_time": right["trade_time"] + MINUTE,
                "trade_time_us": right["trade_time_us"] + MINUTE_US,
            },
        }
        self._write(trade.event_id, changes[how], right)

        def restore() -> None:
            with mongodb.connected(self._settings) as database:
                database[self._collection].delete_one({"_id": second})
                database[self._collection].replace_one({"_id": right["_id"]}, right, upsert=True)

        return restore

    def _write(self, event: str, change: Mapping[str, Any] | None, right: Mapping[str, Any]) -> None:
        with mongodb.connected(self._settings) as database:
            if change is None:
                database[self._collection].delete_one({"_id": event})
            else:
                wrong = {**right, **change}
                database[self._collection].replace_one({"_id": wrong["_id"]}, wrong, upsert=True)


class ElasticsearchRowEditor:
    """Corrupts rows in the indices of trades in Elasticsearch."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def corrupt(self, trade: CheckedTrade, how: str) -> Callable[[], None]:
        event, day = trade.event_id, datetime.fromtimestamp(trade.time_us / 1e6, UTC)
        index, other = (f"crypto-trades-{moment:%Y.%m}" for moment in (day, day + timedelta(days=40)))
        with elasticsearch.connected(self._settings, "admin") as client:
            right = client.get(index=index, id=event)["_source"]
            moved = datetime.fromisoformat(right["trade_time"]) + MINUTE
            changes: dict[str, Mapping[str, Any]] = {
                "altered": {"price": format(Decimal(right["price"]) + STEP, "f")},
                "moved": {"symbol": OTHER},
                "shifted": {"trade_time": f"{moved:%Y-%m-%dT%H:%M:%S.%fZ}"},
            }
            if how == "deleted":
                client.delete(index=index, id=event, refresh=True)
            else:
                target = other if how == "doubled" else index
                client.index(index=target, id=event, document={**right, **changes.get(how, {})}, refresh=True)

        def restore() -> None:
            with elasticsearch.connected(self._settings, "admin") as client:
                client.indices.delete(index=other, ignore_unavailable=True)
                client.index(index=index, id=event, document=right, refresh=True)

        return restore


class CassandraRowEditor:
    """Corrupts rows in Cassandra's table market.trades."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def corrupt(self, trade: CheckedTrade, how: str) -> Callable[[], None]:
        hour = datetime.fromtimestamp(trade.time_us // HOUR_US * 3600, UTC)
        with cassandra.connected(self._settings, "admin") as session:
            rows = session.execute(
                "SELECT * FROM market.trades WHERE symbol = %s AND bucket = %s", (trade.key.symbol, hour)
            )
            right = next(row for row in rows if row["event_id"] == trade.event_id)
        later = {"trade_time": right["trade_time"] + MINUTE, "trade_time_us": right["trade_time_us"] + MINUTE_US}
        changes: dict[str, Mapping[str, Any]] = {
            "doubled": later,
            "altered": {"price": right["price"] + STEP},
            "moved": {"symbol": OTHER},
            "shifted": later,
        }
        wrong = {**right, **changes.get(how, {})}
        if how not in ("doubled", "altered"):
            self._delete(right)
        if how != "deleted":
            self._insert(wrong)

        def restore() -> None:
            self._delete(wrong)
            self._insert(right)

        return restore

    def _insert(self, row: Mapping[str, Any]) -> None:
        names, marks = ", ".join(row), ", ".join("?" * len(row))
        with cassandra.connected(self._settings, "admin") as session:
            # Prepared, because the driver writes decimals as literals with fewer digits.
            insert = session.prepare(f"INSERT INTO market.trades ({names}) VALUES ({marks})")  # noqa: S608
            session.execute(insert, tuple(row.values()))

    def _delete(self, row: Mapping[str, Any]) -> None:
        key = ("symbol", "bucket", "trade_time", "trade_id", "market", "stream")
        where = " AND ".join(f"{name} = %s" for name in key)
        with cassandra.connected(self._settings, "admin") as session:
            session.execute(f"DELETE FROM market.trades WHERE {where}", tuple(row[name] for name in key))  # noqa: S608


ROW_EDITORS: dict[str, Callable[[Settings], RowEditor]] = {
    "mongodb": lambda settings: MongoRowEditor(settings, "trades"),
    "mongodb-raw": lambda settings: MongoRowEditor(settings, "trades_raw"),
    "elasticsearch": ElasticsearchRowEditor,
    "cassandra": CassandraRowEditor,
}
