"""Candles of 1m, 5m, 1h and 1d from silver. Pure DataFrame functions.

The key of a bar is market, symbol and open time. A symbol may arrive as single trades and as
aggregate trades on one day. Then all candles of that day come from the stream with more trades.
Open and close are the prices of the lowest and the highest trade id, independent of the order of
arrival. Intervals without a trade are shown as Binance shows them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from spark.batch.exact import vwap_column
from spark.batch.files import LakeFiles, map_files
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
    """Return one bar per market, symbol, stream and minute with a trade.

    Args:
        partials: Columns of `spark.batch.partials.PARTIAL`; each event is in exactly one row.
    """
    return _merged(partials, "minute")


def read_minute_bars(spark: SparkSession, files: LakeFiles, paths: Sequence[str], tasks: int) -> DataFrame:
    """Return the 1m bars of silver files, from one stream per market, symbol and day."""
    step = (partial_bars, PARTIAL)
    partials = map_files(spark, files, paths, columns=TRADE_COLUMNS, step=step, tasks=tasks)
    return one_stream(minute_bars(partials))


def one_stream(bars: DataFrame) -> DataFrame:
    """Return the bars of the stream with the most trades per market, symbol and day.

    Ties go to aggTrade.
    """
    day = F.to_date("open_time")
    total = F.sum("trades").over(Window.partitionBy(*SYMBOL, "stream", day))
    place = F.rank().over(Window.partitionBy(*SYMBOL, day).orderBy(F.desc("total"), "stream"))
    return bars.withColumn("total", total).withColumn("place", place).where("place = 1").drop("total", "place")


def roll_up(bars: DataFrame, seconds: int) -> DataFrame:
    """Return longer bars from shorter ones; an interval without a shorter bar gets no bar."""
    start = F.timestamp_seconds(F.floor(F.unix_seconds("open_time") / seconds) * seconds)
    return _merged(bars.withColumn("start", start), "start")


def _merged(parts: DataFrame, start: str) -> DataFrame:
    """Merge the parts of each market, symbol, stream and `start` into one bar.

    Sums keep their types.
    """
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
    """Return a bar per interval that opens in [since, until), from the first bar of a symbol on.

    An interval without a trade has volume 0, and its four prices are the close of the bar before
    it, as in Binance's klines.

    Args:
        bars: Bars with trades. Of a bar that opens before `since` only the close is used.
        seconds: Length of an interval.
        since: First open time, at the start of an interval.
        until: End of the time, exclusive.
    """
    by_time = Window.partitionBy(*SYMBOL).orderBy("open_time")
    opened = F.unix_seconds("open_time")
    following = F.coalesce(F.lead(opened).over(by_time), F.lit(int(until.timestamp())))
    between = bars.select(
        *SYMBOL, "stream", "close",
        F.greatest(opened + seconds, F.lit(int(since.timestamp()))).alias("first"),
        (F.floor((following - 1) / seconds) * seconds).alias("last"),
    )  # fmt: skip
    open_times = F.explode(F.sequence("first", "last", F.lit(seconds)))
    silent = between.where("first <= last").select(*SYMBOL, "stream", "close", open_times.alias("at"))
    return bars.where(F.col("open_time") >= F.lit(since)).unionByName(_flat_bars(silent, bars))


def _flat_bars(silent: DataFrame, like: DataFrame) -> DataFrame:
    """Return a bar with volume 0 and four equal prices per silent interval, typed as in `like`."""
    prices = {name: F.col("close") for name in ("open", "high", "low", "close")}
    zeros = {name: F.lit(0).cast(like.schema[name].dataType) for name in _SUMS}
    ids = {name: F.lit(None).cast("bigint") for name in ("open_trade_id", "close_trade_id")}
    values = {"open_time": F.timestamp_seconds("at"), **prices, **zeros, **ids}
    return silent.select(*SYMBOL, "stream", *(column.alias(name) for name, column in values.items()))


def with_vwap(bars: DataFrame) -> DataFrame:
    """Add column `vwap`: 16 decimals, rounded half up; null when nothing traded."""
    return bars.withColumn("vwap", vwap_column(F.col("volume"), F.col("quote_volume"))).select(*CANDLE)
