"""Trades for the tests, and their expected candles in plain Python."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from pyspark.sql import DataFrame, SparkSession

SCHEMA = (
    "event_id string, exchange string, market string, symbol string, stream string, trade_id long, "
    "first_trade_id long, last_trade_id long, price decimal(28,8), qty decimal(28,8), side string, "
    "event_time timestamp, trade_time timestamp, ingest_time timestamp, source string, raw string"
)
MINUTE_US = 60_000_000


@dataclass(frozen=True)
class Trade:
    trade_id: int
    price: str = "1.5"
    qty: str = "2"
    side: str = "BUY"
    time_us: int = 1_723_161_598_000_000
    singles: int = 1
    symbol: str = "BTCUSDT"
    market: str = "spot"
    stream: str = "aggTrade"

    def row(self) -> tuple[Any, ...]:
        first = self.trade_id * 100
        moment = datetime.fromtimestamp(self.time_us // 1_000_000, UTC).replace(microsecond=self.time_us % 1_000_000)
        event_id = f"binance:{self.market}:{self.symbol}:{self.stream}:{self.trade_id}"
        return (
            *(
                event_id,
                "BINANCE",
                self.market,
                self.symbol,
                self.stream,
                self.trade_id,
                first,
                first + self.singles - 1,
            ),
            *(Decimal(self.price), Decimal(self.qty), self.side, moment, moment, moment, "SIMULATED", "{}"),
        )

    @property
    def event_id(self) -> str:
        return f"binance:{self.market}:{self.symbol}:{self.stream}:{self.trade_id}"

    @property
    def is_sentinel(self) -> bool:
        return Decimal(self.price) <= 0 or Decimal(self.qty) <= 0

    @property
    def digest(self) -> int:
        price, qty = Decimal(self.price), Decimal(self.qty)
        text = f"{self.trade_id}|{price:.8f}|{qty:.8f}|{self.side}|{self.time_us}"
        return int(hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:15], 16)


def frame(spark: SparkSession, trades: Sequence[Trade]) -> DataFrame:
    return spark.createDataFrame([trade.row() for trade in trades], SCHEMA)


def candle(trades: Iterable[Trade]) -> dict[str, Any]:
    """Return the bar of the trades of one minute, by definition."""
    real = sorted((trade for trade in trades if not trade.is_sentinel), key=lambda trade: trade.trade_id)
    prices = [Decimal(trade.price) for trade in real]
    return {
        "open": prices[0],
        "high": max(prices),
        "low": min(prices),
        "close": prices[-1],
        "volume": sum(Decimal(trade.qty) for trade in real),
        "quote_volume": sum(Decimal(trade.price) * Decimal(trade.qty) for trade in real),
        "trades": sum(trade.singles for trade in real),
        "events": len(real),
        "taker_buy_volume": sum(Decimal(trade.qty) for trade in real if trade.side == "BUY"),
        "taker_buy_quote_volume": sum(Decimal(t.price) * Decimal(t.qty) for t in real if t.side == "BUY"),
        "open_trade_id": real[0].trade_id,
        "close_trade_id": real[-1].trade_id,
        "checksum": sum(trade.digest for trade in real),
    }
