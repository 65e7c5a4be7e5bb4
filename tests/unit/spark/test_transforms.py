from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from spark import transforms
from spark.candle_sink import Ranges, StreamKey
from spark.pairs import base_of, quote_of, split_symbol
from spark.queries import seen_frame
from tests.unit.spark.trades import MINUTE_US, Trade, candle, frame

BTC = StreamKey("spot", "BTCUSDT", "aggTrade")


def partials(
    spark: SparkSession, trades: list[Trade], seen: dict[StreamKey, Ranges] | None = None
) -> list[dict[str, Any]]:
    distinct = transforms.distinct_trades(frame(spark, trades))
    marked = transforms.mark_fresh(distinct, seen_frame(spark, seen or {}))
    return transforms.partials(marked, transforms.CANDLE_FIGURES).toArrow().to_pylist()


def test_partial_equals_candle_by_definition(spark: SparkSession) -> None:
    trades = [
        Trade(4, price="0.00000001", qty="46116860414.00000001", side="SELL", singles=3),
        Trade(2, price="9999998955.12345678", qty="0.00000001"),
        Trade(3, price="61685.99", qty="0.5"),
        Trade(1, price="7.1", qty="3", side="SELL"),
    ]
    (row,) = partials(spark, trades)
    expected = candle(trades)
    assert {name: row[name] for name in expected} == expected
    assert (row["lo"], row["hi"], row["is_fresh"]) == (1, 4, True)


def test_quote_volume_keeps_sixteen_decimals(spark: SparkSession) -> None:
    (row,) = partials(spark, [Trade(1, price="0.00000001", qty="0.00000001")])
    assert row["quote_volume"] == Decimal("1e-16")


def test_sentinels_count_for_continuity_only(spark: SparkSession) -> None:
    trades = [Trade(1), Trade(2, price="0", qty="0", singles=1), Trade(3)]
    (row,) = partials(spark, trades)
    assert (row["lo"], row["hi"], row["events"]) == (1, 3, 2)
    assert row["low"] == Decimal("1.5")
    (alone,) = partials(spark, [Trade(9, price="0", qty="0")])
    assert (alone["events"], alone["volume"], alone["open"]) == (0, 0, None)


def test_runs_split_at_missing_ids_and_minutes(spark: SparkSession) -> None:
    later = Trade(6).time_us + MINUTE_US
    rows = partials(spark, [Trade(1), Trade(2), Trade(5), Trade(6, time_us=later)])
    assert sorted((row["lo"], row["hi"]) for row in rows) == [(1, 2), (5, 5), (6, 6)]


def test_repeats_in_a_batch_count_once(spark: SparkSession) -> None:
    (row,) = partials(spark, [Trade(1, offset=10), Trade(2, offset=11), Trade(1, offset=12)])
    assert (row["events"], row["trades"]) == (2, 2)


def test_seen_ids_are_not_fresh(spark: SparkSession) -> None:
    rows = partials(spark, [Trade(n) for n in (1, 2, 3, 4, 5)], {BTC: [(2, 2), (5, 9)]})
    fresh, stale = ([row for row in rows if row["is_fresh"] is is_fresh] for is_fresh in (True, False))
    assert [(row["lo"], row["hi"], row["ids"], row["events"]) for row in fresh] == [(1, 4, 3, 3)]
    assert [(row["lo"], row["hi"], row["ids"]) for row in stale] == [(2, 5, 2)]


def test_seen_ids_of_another_stream_do_not_matter(spark: SparkSession) -> None:
    rows = partials(spark, [Trade(1)], {BTC._replace(stream="trade"): [(1, 1)], BTC._replace(market="usdm"): [(1, 1)]})
    assert [row["is_fresh"] for row in rows] == [True]


def test_enriched_is_the_same_for_every_delivery(spark: SparkSession) -> None:
    first = frame(spark, [Trade(1)])
    again = first.withColumns({"ingest_time": F.current_timestamp(), "source": F.lit("REST"), "raw": F.lit("other")})
    assert transforms.enrich(first).collect() == transforms.enrich(again).collect()


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
def test_pairs_in_python_and_in_spark(spark: SparkSession, symbol: str, base: str, quote: str) -> None:
    assert split_symbol(symbol) == (base, quote)
    column = F.lit(symbol)
    assert tuple(spark.range(1).select(base_of(column), quote_of(column)).first() or ()) == (base, quote)
