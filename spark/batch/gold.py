"""The gold tables beside the candles: top movers, volatility, VWAP, months.

Pure DataFrame functions.
"""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from schemas.contracts import COIN_M
from spark.batch.candles import SYMBOL
from spark.batch.exact import quotient_column, root_column, squared_return_column, vwap_column
from spark.pairs import quote_of
from spark.transforms import QUOTE_TYPE, contract_size

DAY = (*SYMBOL, "open_time")


def _midnight() -> Column:
    return F.date_trunc("day", "open_time").alias("open_time")


def _traded() -> Column:
    return F.col("agg_trades") > 0


def _turnover() -> Column:
    dollars = F.try_multiply(F.col("volume"), contract_size(F.col("symbol")).cast("decimal(9,0)"))
    return F.when(F.col("market") == COIN_M, dollars.try_cast(QUOTE_TYPE)).otherwise(F.col("quote_volume"))


def top_movers(days: DataFrame) -> DataFrame:
    """Return the ranks of each symbol and day: among the gainers, the losers, and by turnover.

    `change` is close / open - 1 with 8 decimals. Turnover is compared among symbols with the same
    quote asset. It is the quote volume; on COIN-M, where that is in base coin, it is the dollar
    value of the contracts. A symbol without a trade on a day is left out. Ties are ordered by
    symbol.

    Args:
        days: 1d candles.
    """
    moved = days.where("agg_trades > 0").select(
        *DAY, quote_of(F.col("symbol")).alias("quote"), "open", "close", "quote_volume", "trades",
        quotient_column(F.col("close") - F.col("open"), F.col("open"), 8).alias("change"),
        _turnover().alias("turnover"),
    )  # fmt: skip
    market = Window.partitionBy("market", "open_time")
    turnover = Window.partitionBy("market", "open_time", "quote").orderBy(F.desc("turnover"), "symbol")
    return moved.select(
        *(name for name in moved.columns if name != "turnover"),
        F.row_number().over(market.orderBy(F.desc("change"), "symbol")).alias("rank_gain"),
        F.row_number().over(market.orderBy("change", "symbol")).alias("rank_loss"),
        F.row_number().over(turnover).alias("rank_turnover"),
    )


def volatility(minutes: DataFrame) -> DataFrame:
    """Return the realised variance per symbol and day: the sum of its squared 1-minute returns.

    `returns` counts them; the first minute of a day has none. `volatility` is the root of the
    variance with 12 decimals. `span` is (high - low) / low of the trades, null without a trade.

    Args:
        minutes: 1m candles, silent ones included.
    """
    before = F.lag("close").over(Window.partitionBy(*SYMBOL, F.to_date("open_time")).orderBy("open_time"))
    squares = minutes.withColumn("before", before).select(
        *SYMBOL,
        _midnight(),
        "agg_trades",
        "high",
        "low",
        squared_return_column(F.col("close"), F.col("before")).alias("square"),
    )
    sums = squares.groupBy(*DAY).agg(
        F.count("square").alias("returns"),
        F.coalesce(F.sum("square"), F.lit(0)).cast("decimal(38,24)").alias("variance"),
        F.max(F.when(_traded(), F.col("high"))).alias("high"),
        F.min(F.when(_traded(), F.col("low"))).alias("low"),
    )
    span = quotient_column(F.col("high") - F.col("low"), F.col("low"), 8).alias("span")
    return sums.select(*DAY, "returns", "variance", root_column(F.col("variance"), 12).alias("volatility"), span)


def vwap(hours: DataFrame) -> DataFrame:
    """Return the VWAP of each hour, and of the day so far (`session_vwap`).

    Null while nothing has traded.

    Args:
        hours: 1h candles, silent ones included.
    """
    day = Window.partitionBy(*SYMBOL, F.to_date("open_time")).orderBy("open_time")
    so_far = day.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    sums = {name: F.sum(name).over(so_far).cast(hours.schema[name].dataType) for name in ("quote_volume", "volume")}
    session = hours.select(*SYMBOL, "open_time", "vwap", *(sums[name].alias(name) for name in sums))
    whole = vwap_column(F.col("volume"), F.col("quote_volume")).alias("session_vwap")
    return session.select(*DAY, "vwap", whole, F.col("volume").alias("session_volume"))


def monthly(days: DataFrame, variances: DataFrame) -> DataFrame:
    """Return one row per market, symbol and month.

    Open, high and low come from the days with trades, if any.

    Args:
        days: 1d candles of whole months.
        variances: `volatility` of the same days.
    """
    dated = days.join(variances.select(*DAY, "variance"), [*DAY], "left")
    sums = {
        name: F.sum(name).cast(days.schema[name].dataType).alias(name)
        for name in ("volume", "quote_volume", "trades", "agg_trades", "taker_buy_volume", "taker_buy_quote_volume")
    }
    traded_at = F.when(_traded(), F.col("open_time"))
    rows = dated.groupBy(*SYMBOL, F.date_trunc("month", "open_time").alias("month")).agg(
        F.coalesce(F.min_by("open", traded_at), F.min("open")).alias("open"),
        F.coalesce(F.max(F.when(_traded(), F.col("high"))), F.max("high")).alias("high"),
        F.coalesce(F.min(F.when(_traded(), F.col("low"))), F.min("low")).alias("low"),
        F.max_by("close", "open_time").alias("close"),
        *sums.values(),
        F.count(traded_at).alias("days_traded"),
        F.to_date(F.min("open_time")).alias("first_date"),
        F.to_date(F.max("open_time")).alias("last_date"),
        F.coalesce(F.sum("variance"), F.lit(0)).cast("decimal(38,24)").alias("variance"),
    )
    return rows.select(
        *SYMBOL, F.col("month").alias("open_time"), "open", "high", "low", "close", *sums,
        vwap_column(F.col("volume"), F.col("quote_volume")).alias("vwap"),
        quotient_column(F.col("close") - F.col("open"), F.col("open"), 8).alias("change"),
        "variance", root_column(F.col("variance"), 12).alias("volatility"),
        "days_traded", "first_date", "last_date",
    )  # fmt: skip
