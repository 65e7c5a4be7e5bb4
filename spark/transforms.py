"""Pure DataFrame functions from decoded trades to enriched trades and candle partials. No I/O."""

from __future__ import annotations

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
    """Return each event once: the record with the lowest partition and offset."""
    by_id = Window.partitionBy(*STREAM_KEY).orderBy("trade_id", "kafka_partition", "kafka_offset")
    once = trades.withColumn("_previous", F.lag("trade_id").over(by_id))
    return once.where("_previous IS NULL OR _previous <> trade_id").drop("_previous")


def mark_fresh(trades: DataFrame, seen: DataFrame) -> DataFrame:
    """Add `is_fresh`: whether the id is in none of the ranges that the store already holds.

    Args:
        trades: Trades with the stream key and `trade_id`.
        seen: (market, symbol, stream, seen array<struct<lo: long, hi: long>>), both ends inclusive.
    """
    joined = trades.join(F.broadcast(seen), list(STREAM_KEY), "left")
    covers = F.expr("exists(seen, r -> trade_id BETWEEN r.lo AND r.hi)")
    return joined.withColumn("is_fresh", ~F.coalesce(covers, F.lit(False))).drop("seen")


def number_runs(trades: DataFrame) -> DataFrame:
    """Add `run`: one number a run of consecutive ids of one stream and freshness.

    Gaps and islands: along sorted distinct ids, id minus row number is constant while the ids are consecutive.
    """
    by_id = Window.partitionBy(*STREAM_KEY, "is_fresh").orderBy("trade_id")
    return trades.withColumn("run", F.col("trade_id") - F.row_number().over(by_id))


def partials(trades: DataFrame) -> DataFrame:
    """Return candle partials: one row a stream, minute, run of consecutive ids and freshness.

    Args:
        trades: Distinct trades with `is_fresh`.

    Returns:
        market, symbol, stream, minute, is_fresh, lo, hi (ids, inclusive; sentinels included), and over the trades
        that are no sentinels: events, trades, open_trade_id, close_trade_id, open, high, low, close, volume,
        quote_volume, taker_buy_volume, taker_buy_quote_volume, checksum, and `last` (struct of the highest id).
    """
    priced = (
        number_runs(trades)
        .withColumn("quote_qty", quote_qty())
        .withColumn("minute", F.date_trunc("minute", "trade_time"))
    )
    real = priced.withColumn("is_real", ~is_sentinel()).withColumn("digest", event_digest())
    return real.groupBy(*STREAM_KEY, "minute", "is_fresh", "run").agg(*_aggregates()).drop("run")


def event_digest() -> Column:
    """Return 60 bits of the event's md5, the summand of a candle's order-free checksum (decimal(38,0))."""
    # In ANSI mode a decimal casts to its plain text with all 8 decimals, never to an exponent.
    fields = (F.col("trade_id"), F.col("price"), F.col("qty"), F.col("side"), F.unix_micros("trade_time"))
    text = F.concat_ws("|", *(field.cast("string") for field in fields))
    return F.conv(F.substring(F.md5(text.cast("binary")), 1, 15), 16, 10).cast("decimal(38,0)")


def _real(value: Column | str) -> Column:
    column = F.col(value) if isinstance(value, str) else value
    return F.when(F.col("is_real"), column)


def _aggregates() -> list[Column]:
    trade_id = _real("trade_id")
    buy = F.col("side") == "BUY"
    zero_qty, zero_quote = F.lit(0).cast("decimal(38,8)"), F.lit(0).cast(QUOTE_TYPE)
    last = F.struct("event_id", "trade_id", "price", "qty", "side", F.unix_micros("trade_time").alias("trade_time_us"))
    return [
        F.min("trade_id").alias("lo"),
        F.max("trade_id").alias("hi"),
        F.count_if("is_real").alias("events"),
        F.coalesce(F.sum(_real(F.col("last_trade_id") - F.col("first_trade_id") + 1)), F.lit(0)).alias("trades"),
        F.min(trade_id).alias("open_trade_id"),
        F.max(trade_id).alias("close_trade_id"),
        F.min_by(_real("price"), trade_id).alias("open"),
        F.max(_real("price")).alias("high"),
        F.min(_real("price")).alias("low"),
        F.max_by(_real("price"), trade_id).alias("close"),
        F.coalesce(F.sum(_real("qty")), zero_qty).cast("decimal(38,8)").alias("volume"),
        F.coalesce(F.sum(_real("quote_qty")), zero_quote).alias("quote_volume"),
        F.coalesce(F.sum(_real(F.when(buy, F.col("qty")))), zero_qty).cast("decimal(38,8)").alias("taker_buy_volume"),
        F.coalesce(F.sum(_real(F.when(buy, F.col("quote_qty")))), zero_quote).alias("taker_buy_quote_volume"),
        F.coalesce(F.sum(_real("digest")), F.lit(0).cast("decimal(38,0)")).alias("checksum"),
        F.max_by(F.when(F.col("is_real"), last), trade_id).alias("last"),
    ]
