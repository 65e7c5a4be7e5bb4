"""Enriched trades a second by Connect into MongoDB, against bulk_write of the official client."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from bench.harness import Figures
from bench.sinks import BOUND, Side, Trade, batches, measure
from bench.stand import Stand
from tickhouse.stores.mongodb import connected

__all__ = ["BOUND", "run"]


def run(bench: Stand) -> Figures:
    """Measure both sides."""
    from pymongo import ReplaceOne

    settings = bench.up("connect", "mongodb")
    with connected(settings) as database:

        def floor(prepared: list[dict[str, Any]]) -> None:
            for batch in batches(prepared):
                replaced = [ReplaceOne({"_id": one["_id"]}, one, upsert=True) for one in batch]
                database["trades"].bulk_write(replaced, ordered=False)

        def has(one: Trade) -> bool:
            return database["trades"].find_one({"_id": one["event_id"]}, {"_id": 1}) is not None

        side = Side("mongodb-trades", has, lambda rows: [document(one) for one in rows], floor)
        return measure(bench, settings, side, "connect_mongodb")


def document(one: Trade) -> dict[str, Any]:
    """Return the document that the connector would write."""
    from bson.decimal128 import Decimal128

    found = {name: value for name, value in one.items() if name != "event_id"} | {"_id": one["event_id"]}
    for name, places in (("price", 8), ("qty", 8), ("quote_qty", 16)):
        found[name] = Decimal128(Decimal(one[name]).scaleb(-places))
    for name in ("trade_time", "minute", "bucket"):
        found |= {name: datetime.fromtimestamp(one[name] // 1000 / 1000, UTC), f"{name}_us": one[name]}
    return found
