"""Enriched trades per second by Connect into Cassandra, against the official client's inserts."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from bench.bench_stack import BenchStack
from bench.harness import Figures
from bench.sinks import BATCH, BOUND, EnrichedRow, SinkSide, batches, measure
from common.clients.cassandra import connected

__all__ = ["BOUND", "run"]

COLUMNS = (
    "event_id", "exchange", "market", "stream", "symbol", "trade_id", "first_trade_id", "last_trade_id", "price", "qty",
    "side", "trade_time", "base", "quote", "pair", "quote_qty", "is_sentinel", "minute", "bucket", "trade_time_us",
    "source",
)  # fmt: skip


def run(bench: BenchStack) -> Figures:
    """Measure both sides."""
    from cassandra.concurrent import execute_concurrent_with_args

    settings = bench.up("connect", "cassandra")
    with connected(settings, "writer") as writer, connected(settings, "reader") as reader:
        marks = ", ".join("?" * len(COLUMNS))
        insert = writer.prepare(f"INSERT INTO market.trades ({', '.join(COLUMNS)}) VALUES ({marks})")  # noqa: S608
        question = reader.prepare(
            "SELECT trade_id FROM market.trades WHERE symbol = ? AND bucket = ? AND trade_time = ? AND trade_id = ?"
        )

        def floor(prepared: list[tuple[Any, ...]]) -> None:
            for batch in batches(prepared):
                execute_concurrent_with_args(writer, insert, batch, concurrency=BATCH)

        def has(trade: EnrichedRow) -> bool:
            key = (trade["symbol"], moment(trade["bucket"]), moment(trade["trade_time"]), trade["trade_id"])
            return reader.execute(question, key).one() is not None

        side = SinkSide("cassandra-trades", has, lambda rows: [row(trade) for trade in rows], floor)
        return measure(bench, settings, side, "connect_cassandra")


def row(trade: EnrichedRow) -> tuple[Any, ...]:
    """Return the values that the connector would write, in the order of `COLUMNS`."""
    values = trade | {"trade_time_us": trade["trade_time"]}
    for name, places in (("price", 8), ("qty", 8), ("quote_qty", 16)):
        values[name] = Decimal(trade[name]).scaleb(-places)
    for name in ("trade_time", "minute", "bucket"):
        values[name] = moment(trade[name])
    return tuple(values[name] for name in COLUMNS)


def moment(time_us: int) -> datetime:
    """Return a time in milliseconds, as Cassandra stores it."""
    return datetime.fromtimestamp(time_us // 1000 / 1000, UTC)
