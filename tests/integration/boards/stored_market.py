"""A small market in PostgreSQL, written by the pipeline's code, for the queries of dashboards."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow.fs import LocalFileSystem

from common.clients.lake_files import RefFiles
from common.settings import Settings
from spark.streaming.candle_sink import CandleStore
from spark.streaming.partial_sums import PARTIAL_ARROW, partials
from tests.unit.spark.streaming.test_partial_sums import facts
from tests.unit.spark.trades import Trade
from tickhouse.alerts.alert import Alert
from tickhouse.alerts.store import AlertStore
from tickhouse.dag_tasks import daily_tables

COMMIT = "b" * 64
SYMBOLS = {"BTCUSDT": 60_000, "ETHUSDT": 3_000}
HOURS = 30
_TIMES = [("market", pa.string()), ("symbol", pa.string()), ("open_time", pa.timestamp("us", "UTC"))]
_AMOUNT, _QUOTE = pa.decimal128(38, 8), pa.decimal128(38, 16)
_PRICES = [(name, pa.decimal128(28, 8)) for name in ("open", "high", "low", "close")]
SCHEMAS = {
    "candles_1d": pa.schema(
        [*_TIMES, ("stream", pa.string()), *_PRICES, ("volume", _AMOUNT), ("quote_volume", _QUOTE), ("vwap", _QUOTE),
         ("trades", pa.int64()), ("agg_trades", pa.int64()), ("taker_buy_volume", _AMOUNT),
         ("taker_buy_quote_volume", _QUOTE), ("open_trade_id", pa.int64()), ("close_trade_id", pa.int64())]
    ),
    "top_movers": pa.schema(
        [*_TIMES, ("quote", pa.string()), _PRICES[0], _PRICES[3], ("quote_volume", _QUOTE), ("trades", pa.int64()),
         ("change", _AMOUNT), *((f"rank_{name}", pa.int32()) for name in ("gain", "loss", "turnover"))]
    ),
    "volatility": pa.schema(
        [*_TIMES, ("returns", pa.int64()), ("variance", pa.decimal128(38, 24)), ("volatility", pa.decimal128(38, 12)),
         ("span", _AMOUNT)]
    ),
    "monthly": pa.schema(
        [*_TIMES, *_PRICES, ("volume", _AMOUNT), ("quote_volume", _QUOTE), ("trades", pa.int64()),
         ("agg_trades", pa.int64()), ("taker_buy_volume", _AMOUNT), ("taker_buy_quote_volume", _QUOTE),
         ("vwap", _QUOTE), ("change", _AMOUNT), ("variance", pa.decimal128(38, 24)),
         ("volatility", pa.decimal128(38, 12)), ("days_traded", pa.int64()), ("first_date", pa.date32()),
         ("last_date", pa.date32())]
    ),
}  # fmt: skip


_DELIVERY: LiteralString = """
INSERT INTO alerts.deliveries (alert_id, channel, state, tries, error) VALUES (%s, 'webhook', 'sending', 3, 'HTTP 503')
ON CONFLICT DO NOTHING
"""
_REDRIVE: LiteralString = """
INSERT INTO audit.redrives
VALUES ('dlq.spark', 0, 1, 'f1', 'id', 'undecodable', 'crypto.trades', 1, 'sent', 'test') ON CONFLICT DO NOTHING
"""
_REMOVAL: LiteralString = """
INSERT INTO audit.removals (store, item, event_from, event_until, arrived_before, rows, bytes, why, state)
VALUES ('influxdb', '2024-08-08', now(), now(), now(), 5, 100, 'days', 'removed') ON CONFLICT DO NOTHING
"""


def live_trades(now: datetime) -> list[Trade]:
    """Return some trades per minute of two symbols, of the hours before now."""
    rng = random.Random(36)
    start_us = int((now - timedelta(hours=HOURS)).timestamp()) * 1_000_000
    made = []
    for symbol, price in SYMBOLS.items():
        for number in range(HOURS * 60):
            time_us = start_us + number * 60_000_000 + rng.randrange(59_000_000)
            dearer = f"{price + rng.randrange(200)}.{rng.randrange(100):02d}"
            side = rng.choice(("BUY", "SELL"))
            made.append(Trade(number + 1, dearer, f"0.{number + 1:08d}", side, time_us, symbol=symbol))
    return made


def write_candles(settings: Settings, trades: list[Trade]) -> None:
    """Write trades as a batch of the streaming query `candles` does."""
    store = CandleStore(settings.database_dsn("stream"))
    applied = store.applied(partials(map(facts, trades), {}))
    rows = [{name: row.get(name) for name in PARTIAL_ARROW.names} for row in partials(map(facts, trades), applied)]
    store.apply([row for row in rows if row["is_fresh"]])
    store.close()


def publish_days(settings: Settings, folder: Path, newest: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    """Load three days of gold into PostgreSQL with the loader of the nightly DAG."""
    for table, schema in SCHEMAS.items():
        for day in range(3):
            midnight = newest - timedelta(days=day)
            rows = [_gold_row(table, at, symbol, midnight) for at, symbol in enumerate(SYMBOLS)]
            path = folder / "gold" / table / f"date={midnight:%Y-%m-%d}" / "part-0.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            if table != "monthly" or day == 0:
                pq.write_table(pa.Table.from_pylist(rows, schema), path)
    monkeypatch.setattr(RefFiles, "connect", lambda *_: RefFiles(LocalFileSystem(), str(folder)))
    monkeypatch.setattr(daily_tables, "head", lambda *_: COMMIT)
    daily_tables.load(settings, "main")


def _gold_row(table: str, at: int, symbol: str, midnight: datetime) -> dict[str, Any]:
    price = Decimal(SYMBOLS[symbol])
    prices = {"open": price, "high": price * 2, "low": price / 2, "close": price + 1}
    amounts = {"volume": Decimal(9), "quote_volume": price * 9, "vwap": price, "taker_buy_volume": Decimal(4),
               "taker_buy_quote_volume": price * 4}  # fmt: skip
    ranks = {"rank_gain": at + 1, "rank_loss": 2 - at, "rank_turnover": at + 1}
    variance = {"returns": 1439, "variance": Decimal("0.0004"), "volatility": Decimal("0.02"), "span": Decimal("1.5")}
    values: dict[str, Any] = {
        "market": "spot", "symbol": symbol, "stream": "aggTrade", "quote": "USDT", "open_time": midnight,
        **prices, **amounts, **ranks, **variance, "change": Decimal("0.01"), "trades": 1000, "agg_trades": 900,
        "open_trade_id": 1, "close_trade_id": 900, "days_traded": 3,
        "first_date": midnight.date(), "last_date": midnight.date(),
    }  # fmt: skip
    if table == "monthly":
        values["open_time"] = midnight.replace(day=1)
    return {name: values[name] for name in SCHEMAS[table].names}


def write_events_of_the_pipeline(settings: Settings, now: datetime) -> None:
    """Store alerts as the watcher does, and a row of each table that other jobs fill."""
    alerts = [
        Alert("price_move", "price_move", severity, f"spot:{symbol}", f"w{at}", int(now.timestamp()) * 1_000_000,
              f"{symbol} moved", {}, "spot", symbol)
        for at, (severity, symbol) in enumerate((("warning", "BTCUSDT"), ("critical", "ETHUSDT"), ("info", "BTCUSDT")))
    ]  # fmt: skip
    store = AlertStore(settings.database_dsn("watcher"))
    store.commit(alerts, {}, {})
    store.close()
    for role, statement, values in (
        ("notifier", _DELIVERY, [alerts[0].alert_id]),
        ("operator", _REDRIVE, []),
        ("owner", _REMOVAL, []),
    ):
        with psycopg.connect(settings.database_dsn(role)) as connection:
            connection.execute(statement, values)


def fill(settings: Settings, folder: Path) -> None:
    """Fill PostgreSQL with everything that a dashboard reads."""
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    write_candles(settings, live_trades(now))
    with pytest.MonkeyPatch.context() as monkeypatch:
        publish_days(settings, folder, now.replace(hour=0, minute=0), monkeypatch)
    write_events_of_the_pipeline(settings, now)
