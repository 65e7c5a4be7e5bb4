from __future__ import annotations

from decimal import Decimal

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from spark import transforms
from spark.pairs import base_of, quote_of
from tests.unit.spark.trades import Trade, frame


def test_enriched_is_the_same_for_every_delivery(spark: SparkSession) -> None:
    first = frame(spark, [Trade(1)])
    again = first.withColumns({"ingest_time": F.current_timestamp(), "raw": F.lit("other")})
    assert transforms.enrich(first).collect() == transforms.enrich(again).collect()


@pytest.mark.parametrize(
    ("came_by", "source"),
    [("SIMULATED", "SIMULATED"), ("WEBSOCKET", "EXCHANGE"), ("REST", "EXCHANGE"), ("ARCHIVE", "EXCHANGE")],
)
def test_enriched_trades_show_whether_the_market_is_synthetic(spark: SparkSession, came_by: str, source: str) -> None:
    (row,) = transforms.enrich(frame(spark, [Trade(1)]).withColumn("source", F.lit(came_by))).collect()
    assert row.source == source


def test_enriched_fields(spark: SparkSession) -> None:
    rows = transforms.enrich(frame(spark, [Trade(1, price="0.1", qty="0.3"), Trade(2, price="0", qty="0")])).collect()
    assert (rows[0].pair, rows[0].quote_qty, rows[0].is_sentinel) == ("BTC-USDT", Decimal("0.03"), False)
    assert rows[1].is_sentinel
    assert rows[0].minute.second == 0
    assert rows[0].bucket.minute == 0


@pytest.mark.parametrize(
    ("symbol", "base", "quote"),
    [
        ("BTCUSDT", "BTC", "USDT"),
        ("XRPETH", "XRP", "ETH"),
        ("BTCFDUSD", "BTC", "FDUSD"),
        ("1000PEPEUSDC", "1000PEPE", "USDC"),
        ("BTCUSD_PERP", "BTC", "USD"),
        ("BTCUSDT_240927", "BTC", "USDT"),
        ("USDTTRY", "USDT", "TRY"),
        ("BNBBTC", "BNB", "BTC"),
        ("BTC", "BTC", ""),
        ("ODDNAME", "ODDNAME", ""),
        ("币安人生USDT", "币安人生", "USDT"),
    ],
)
def test_pairs(spark: SparkSession, symbol: str, base: str, quote: str) -> None:
    column = F.lit(symbol)
    assert tuple(spark.range(1).select(base_of(column), quote_of(column)).first() or ()) == (base, quote)
