"""Candles of 1m, 5m, 1h and 1d from silver, silent intervals as Binance shows them. Pure DataFrame functions.

A bar's key is market, symbol and open time: of a symbol that came as single trades and as aggregates on one day, the
fuller stream makes all candles of that day. Open and close are by lowest and highest trade id, never by arrival.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from spark.batch.exact import quotient_column
from spark.batch.files import LakeFiles, read_through
from spark.batch.partials import PARTIAL, TRADE_COLUMNS, partial_bars

INTERVALS_S = {"1m": 60, "5m": 300, "1h": 3_600, "1d": 86_400}
SYMBOL = ("market", "symbol")
_SUMS = ("volume", "quote_volume", "trades", "agg_trades", "taker_buy_volume", "taker_buy_quote_volume")
CANDLE = {
    **{"market": "string", "symbol": "string", "stream": "string", "open_time": "timestamp"},
    **dict.fromkeys(("open", "high", "low", "close"), "decimal(28,8)"),
    **{"volume": "decimal(38,8)", "quote_volume": "decimal(38,16)", "vwap": "decimal(38,16)"},
    **{"trades": "bigint", "agg_trades": "bigint"},
    **{"taker_buy_volume": "decimal(38,8)", "taker_buy_quote_volume": "decimal(38,16)"},
    **{"open_trade_id": "bigint", "close_trade_id": "bigint"},
}


def minute_bars(partials: DataFrame) -> DataFrame:
    """Return the bar of each market, symbol, stream and minute that has a trade.

    Args:
        partials: Columns of `spark.batch.partials.PARTIAL`; each event is in one.
    """
    return _merged(partials, "minute")


def read_minute_bars(spark: SparkSession, files: LakeFiles, paths: Sequence[str], tasks: int) -> DataFrame:
    """Return the 1m bars of files of silver, one stream a market, symbol and day."""
    step = (partial_bars, PARTIAL)
    partials = read_through(spark, files, paths, columns=TRADE_COLUMNS, step=step, tasks=tasks)
    return one_stream(minute_bars(partials))


def one_stream(bars: DataFrame) -> DataFrame:
    """Return the bars of the stream with the most trades of each market, symbol and day; ties go to aggTrade."""
    day = F.to_date("open_time")
    total = F.sum("trades").over(Window.partitionBy(*SYMBOL, "stream", day))
    place = F.rank().over(Window.partitionBy(*SYMBOL, day).orderBy(F.desc("total"), "stream"))
    return bars.withColumn("total", total).withColumn("place", place).where("place = 1").drop("total", "place")


def roll_up(bars: DataFrame, seconds: int) -> DataFrame:
    """Return longer bars from shorter ones that have trades; an interval without any has none."""
    start = F.timestamp_seconds(F.floor(F.unix_seconds("open_time") / seconds) * seconds)
    return _merged(bars.withColumn("start", start), "start")


def _merged(parts: DataFrame, start: str) -> DataFrame:
    """Return the bar that the parts of each market, symbol, stream and `start` make; a sum keeps its type."""
    sums = [F.sum(name).cast(CANDLE[name]).alias(name) for name in _SUMS]
    return parts.groupBy(*SYMBOL, "stream", F.col(start).alias("open_time")).agg(
        F.min_by("open", "open_trade_id").alias("open"),
        F.max("high").alias("high"),
        F.min("low").alias("low"),
        F.max_by("close", "close_trade_id").alias("close"),
        *sums,
        F.min("open_trade_id").alias("open_trade_id"),
        F.max("close_trade_id").alias("close_trade_id"),
    )


def with_silent(bars: DataFrame, seconds: int, since: datetime, until: datetime) -> DataFrame:
    """Return every interval that opens in [since, until) from each symbol's first bar on, flat where nothing traded.

    A silent interval has volume 0 and opens, peaks and closes at the close before it, as Binance's klines do.

    Args:
        bars: Bars with trades; a bar that opens before `since` only lends its close to what follows.
        seconds: Length of an interval.
        since: First open time; a whole interval.
        until: Exclusive.
    """
    by_time = Window.partitionBy(*SYMBOL).orderBy("open_time")
    opened = F.unix_seconds("open_time")
    following = F.coalesce(F.lead(opened).over(by_time), F.lit(int(until.timestamp())))
    between = bars.select(
        *SYMBOL, "stream", "close",
        F.greatest(opened + seconds, F.lit(int(since.timestamp()))).alias("first"),
        (F.floor((following - 1) / seconds) * seconds).alias("last"),
    )  # fmt: skip
    silent = F.sequence("first", "last", F.lit(seconds))
    flat = between.where("first <= last").select(*SYMBOL, "stream", "close", F.explode(silent).alias("at"))
    return bars.where(F.col("open_time") >= F.lit(since)).unionByName(_flat(flat, bars))


def _flat(flat: DataFrame, like: DataFrame) -> DataFrame:
    prices = {name: F.col("close") for name in ("open", "high", "low", "close")}
    zeros = {name: F.lit(0).cast(like.schema[name].dataType) for name in _SUMS}
    ids = {name: F.lit(None).cast("bigint") for name in ("open_trade_id", "close_trade_id")}
    values = {"open_time": F.timestamp_seconds("at"), **prices, **zeros, **ids}
    return flat.select(*SYMBOL, "stream", *(column.alias(name) for name, column in values.items()))


def with_vwap(bars: DataFrame) -> DataFrame:
    """Add the volume-weighted average price, 16 decimals rounded half up; null where nothing traded."""
    return bars.withColumn("vwap", quotient_column(F.col("quote_volume"), F.col("volume"), 16)).select(*CANDLE)
