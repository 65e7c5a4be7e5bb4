"""Pure DataFrame functions from decoded trades to enriched trades and candle partials. No I/O."""

from __future__ import annotations

from collections.abc import Mapping

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from spark.pairs import base_of, quote_of

STREAM_KEY = ("market", "symbol", "stream")

# A decimal(28,8) product has 16 decimals. Spark keeps them only with
# spark.sql.decimalOperations.allowPrecisionLoss=false (spark/session.py); the default would round to 6.
QUOTE_TYPE = "decimal(38,16)"


def trades_of(decoded: DataFrame) -> DataFrame:
    """Return the fields of the trades that decoded, with `kafka_partition` and `kafka_offset`."""
    good = decoded.where(F.col("reason").isNull())
    return good.select("record.*", F.col("partition").alias("kafka_partition"), F.col("offset").alias("kafka_offset"))


def quote_qty() -> Column:
    """Return price x qty, exact to 16 decimals; null where it passes 22 integer digits."""
    return F.try_multiply(F.col("price"), F.col("qty")).cast(QUOTE_TYPE)


def is_sentinel() -> Column:
    """Return whether the exchange marked the trade as void (price or quantity not positive)."""
    return (F.col("price") <= 0) | (F.col("qty") <= 0)


def enrich(trades: DataFrame) -> DataFrame:
    """Return `EnrichedTrade` rows: what follows from the trade alone, so that every delivery is identical.

    Receive time, source and the raw frame are left out: a second delivery of the same trade may differ in them.
    """
    facts = trades.drop("event_time", "ingest_time", "source", "raw", "kafka_partition", "kafka_offset")
    base, quote = base_of(F.col("symbol")), quote_of(F.col("symbol"))
    return (
        facts.withColumn("base", base)
        .withColumn("quote", quote)
        .withColumn("pair", F.concat_ws("-", base, F.when(quote != "", quote)))
        .withColumn("quote_qty", quote_qty())
        .withColumn("is_sentinel", is_sentinel())
        .withColumn("minute", F.date_trunc("minute", "trade_time"))
        .withColumn("bucket", F.date_trunc("hour", "trade_time"))
    )


def distinct_trades(trades: DataFrame) -> DataFrame:
    """Return each event once, with `run`: one number a run of consecutive ids of one stream.

    Gaps and islands: along sorted ids, id minus dense rank is constant while the ids are consecutive.
    """
    by_id = Window.partitionBy(*STREAM_KEY).orderBy("trade_id")
    numbered = trades.withColumns(
        {"_previous": F.lag("trade_id").over(by_id), "run": F.col("trade_id") - F.dense_rank().over(by_id)}
    )
    return numbered.where("_previous IS NULL OR _previous <> trade_id").drop("_previous")


def mark_fresh(trades: DataFrame, seen: DataFrame) -> DataFrame:
    """Add `is_fresh`: whether the id is in none of the ranges that the store already holds.

    Args:
        trades: Trades with the stream key and `trade_id`.
        seen: (market, symbol, stream, seen array<struct<lo: long, hi: long>>), both ends inclusive.
    """
    joined = trades.join(F.broadcast(seen), list(STREAM_KEY), "left")
    covers = F.expr("exists(seen, r -> trade_id BETWEEN r.lo AND r.hi)")
    return joined.withColumn("is_fresh", ~F.coalesce(covers, F.lit(False))).drop("seen")


def partials(trades: DataFrame, figures: Mapping[str, str]) -> DataFrame:
    """Return partial sums: one row a stream, minute, run of consecutive ids and freshness.

    Args:
        trades: Distinct trades with `run` and `is_fresh`.
        figures: `CANDLE_FIGURES` or `LAST_FIGURES`; taken over the trades that are no sentinels.

    Returns:
        market, symbol, stream, minute, is_fresh, lo and hi (ids, inclusive), ids (how many, sentinels included),
        events (without sentinels), and the figures. Ids between lo and hi that are not counted are seen ones.
    """
    numbered = trades.withColumns(
        {
            "minute": F.date_trunc("minute", "trade_time"),
            "quote_qty": quote_qty(),
            "is_real": ~is_sentinel(),
            "is_buy": F.col("side") == "BUY",
        }
    )
    if "checksum" in figures:
        numbered = numbered.withColumn("digest", event_digest())
    sums = (F.expr(f"{sql} AS {name}") for name, sql in {**_IDS, **figures}.items())
    return numbered.groupBy(*STREAM_KEY, "minute", "is_fresh", "run").agg(*sums).drop("run")


_IDS = {"lo": "min(trade_id)", "hi": "max(trade_id)", "ids": "count(1)", "events": "count_if(is_real)"}

# What a candle needs. Open and close by id, not by arrival; trades = single trades in the aggregates.
CANDLE_FIGURES = {
    "trades": "coalesce(sum(last_trade_id - first_trade_id + 1) FILTER (WHERE is_real), 0)",
    "open_trade_id": "min(trade_id) FILTER (WHERE is_real)",
    "close_trade_id": "max(trade_id) FILTER (WHERE is_real)",
    "open": "min_by(price, trade_id) FILTER (WHERE is_real)",
    "high": "max(price) FILTER (WHERE is_real)",
    "low": "min(price) FILTER (WHERE is_real)",
    "close": "max_by(price, trade_id) FILTER (WHERE is_real)",
    "volume": "coalesce(sum(qty) FILTER (WHERE is_real), 0)",
    "quote_volume": "coalesce(sum(quote_qty) FILTER (WHERE is_real), 0)",
    "taker_buy_volume": "coalesce(sum(qty) FILTER (WHERE is_real AND is_buy), 0)",
    "taker_buy_quote_volume": "coalesce(sum(quote_qty) FILTER (WHERE is_real AND is_buy), 0)",
    "checksum": "coalesce(sum(digest) FILTER (WHERE is_real), 0)",
}

# What the latest price and its minute need: `last` is the trade with the highest id.
LAST_FIGURES = {
    "volume": CANDLE_FIGURES["volume"],
    "quote_volume": CANDLE_FIGURES["quote_volume"],
    "last": "max_by(struct(event_id, trade_id, price, qty, side, unix_micros(trade_time) AS trade_time_us), trade_id) "
    "FILTER (WHERE is_real)",
}


def event_digest() -> Column:
    """Return 60 bits of the event's md5, the summand of a candle's order-free checksum (decimal(38,0))."""
    # In ANSI mode a decimal casts to its plain text with all 8 decimals, never to an exponent.
    text = "concat_ws('|', trade_id, price, qty, side, unix_micros(trade_time))"
    return F.expr(f"CAST(conv(substring(md5(CAST({text} AS BINARY)), 1, 15), 16, 10) AS DECIMAL(38, 0))")
