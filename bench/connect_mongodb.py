"""Enriched trades per second by Connect into MongoDB, against the official bulk_write."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from bench.bench_stack import BenchStack
from bench.harness import Figures
from bench.sinks import BOUND, EnrichedRow, SinkSide, batches, measure
from common.clients.mongodb import connected

__all__ = ["BOUND", "run"]


def run(bench: BenchStack) -> Figures:
    """Measure both sides."""
    from pymongo import ReplaceOne

    settings = bench.up("connect", "mongodb")
    with connected(settings) as database:

        def floor(prepared: list[dict[str, Any]]) -> None:
            for batch in batches(prepared):
                replaced = [ReplaceOne({"_id": replacement["_id"]}, replacement, upsert=True) for replacement in batch]
                database["trades"].bulk_write(replaced, ordered=False)

        def has(trade: EnrichedRow) -> bool:
            return database["trades"].find_one({"_id": trade["event_id"]}, {"_id": 1}) is not None

        side = SinkSide("mongodb-trades", has, lambda rows: [document(one) for one in rows], floor)
        return measure(bench, settings, side, "connect_mongodb")


def document(trade: EnrichedRow) -> dict[str, Any]:
    """Return the document that the connector would write."""
    from bson.decimal128 import Decimal128

    values = {name: value for name, value in trade.items() if name != "event_id"} | {"_id": trade["event_id"]}
    for name, places in (("price", 8), ("qty", 8), ("quote_qty", 16)):
        values[name] = Decimal128(Decimal(trade[name]).scaleb(-places))
    for name in ("trade_time", "minute", "bucket"):
        values |= {name: datetime.fromtimestamp(trade[name] // 1000 / 1000, UTC), f"{name}_us": trade[name]}
    return values
