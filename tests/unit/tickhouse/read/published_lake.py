"""A published lake in a folder: silver and gold, made from the checker's trades without Spark."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from spark.batch.candles import CANDLE
from spark.batch.silver import SILVER
from tests.lakes import MIDNIGHT_US, bronze_row, moment
from tests.lakes import trade as checked_trade
from tickhouse.checks.reconcile import gold
from tickhouse.checks.reconcile.model import MINUTE_US, CheckedTrade

ARROW = {
    "string": pa.string(), "timestamp": pa.timestamp("us", "UTC"), "bigint": pa.int64(), "boolean": pa.bool_(),
    "decimal(28,8)": pa.decimal128(28, 8), "decimal(38,8)": pa.decimal128(38, 8),
    "decimal(38,16)": pa.decimal128(38, 16),
}  # fmt: skip
CANDLE_SCHEMA = pa.schema([(name, ARROW[kind]) for name, kind in CANDLE.items()])
SILVER_SCHEMA = pa.schema([(name, ARROW[kind]) for name, kind in SILVER.items()])
HALF_DAY_US = 12 * 60 * MINUTE_US


def busy_market() -> list[CheckedTrade]:
    """Return a day of trades around midnight, three per minute, whose price goes up and down."""
    price = [60_000_00000000 + int(9e10 * math.sin(n / 150)) for n in range(3 * 1440)]
    start = MIDNIGHT_US - HALF_DAY_US
    return [checked_trade(n, start + n * 20_000_000, one, 10**7 + n) for n, one in enumerate(price)]


def candle_row(candle: gold.GoldCandle) -> dict[str, Any]:
    """Return a candle of the checker as a row of gold."""
    scales = {name: 16 if "quote" in name or name == "vwap" else 8 for name in CANDLE}
    row: dict[str, Any] = {**candle.key._asdict(), "open_time": moment(candle.open_time_us)}
    for name in CANDLE_SCHEMA.names[4:]:
        value = getattr(candle, name)
        is_decimal = pa.types.is_decimal(CANDLE_SCHEMA.field(name).type)
        row[name] = Decimal(value).scaleb(-scales[name]) if is_decimal and value is not None else value
    return row


def silver_row(trade: CheckedTrade) -> dict[str, Any]:
    row = bronze_row(trade, 0)
    time: datetime = row["trade_time"]
    derived = {
        "base": "BTC", "quote": "USDT", "pair": "BTC-USDT", "quote_qty": row["price"] * row["qty"],
        "is_sentinel": trade.is_sentinel, "minute": time.replace(second=0, microsecond=0),
        "bucket": time.replace(minute=0, second=0, microsecond=0),
    }  # fmt: skip
    return {name: value for name, value in (row | derived).items() if name in SILVER}


def publish(folder: Path, trades: list[CheckedTrade]) -> None:
    """Write silver and the candles of all intervals into a folder."""
    for interval in gold.INTERVALS_US:
        rows = [candle_row(candle) for candle in gold.expected(trades, interval).values()]
        for day, of_day in grouped(rows, "open_time", "%Y-%m-%d").items():
            put(folder / f"gold/candles_{interval}/date={day}/part-0.parquet", of_day, CANDLE_SCHEMA)
    ordered = sorted(trades, key=lambda one: (one.key, one.trade_id))
    for hour, of_hour in grouped(map(silver_row, ordered), "trade_time", "date=%Y-%m-%d/hour=%H").items():
        put(folder / f"silver/trades/{hour}/part-0.parquet", of_hour, SILVER_SCHEMA)


def grouped(rows: Iterable[dict[str, Any]], time: str, pattern: str) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        found[f"{row[time]:{pattern}}"].append(row)
    return found


def put(path: Path, rows: list[dict[str, Any]], schema: pa.Schema) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    key = [name for name in ("market", "symbol", "open_time", "stream", "trade_id") if name in schema.names]
    table = pa.Table.from_pylist(rows, schema)
    pq.write_table(table.sort_by([(name, "ascending") for name in key]), path)
