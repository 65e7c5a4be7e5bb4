"""Enrich decoded trades. Pure DataFrame functions without I/O."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from common.market_kind import SIMULATED
from schemas.contracts import COIN_M, contract_sizes
from spark.pairs import base_of, quote_of

# The product of two decimal(28,8) has 16 decimals. Spark keeps them only with
# spark.sql.decimalOperations.allowPrecisionLoss=false (spark/conf.py); by default it rounds to 6.
QUOTE_TYPE = "decimal(38,16)"


def quote_qty(field: Callable[[str], Column] = F.col) -> Column:
    """Return the quote quantity of a trade; null when it does not fit decimal(38,16).

    On spot and USD-M it is price x quantity, exact. On COIN-M it is the quantity in base coin,
    rounded half up. `schemas.contracts.quote_quantity` is the same rule in Python.

    Args:
        field: Returns the column of a field of the trade.
    """
    product = F.try_multiply(field("price"), field("qty")).cast(QUOTE_TYPE)
    return F.when(field("market") == COIN_M, _base_coin(field)).otherwise(product)


def contract_size(symbol: Column) -> Column:
    """Return the US dollars per contract of a COIN-M symbol; all sizes are below 1,000."""
    sizes, pair = contract_sizes(), F.substring_index(symbol, "_", 1)
    size: Column = F.lit(sizes.default)
    for name, dollars in sizes.pairs.items():
        size = F.when(pair == name, F.lit(dollars)).otherwise(size)
    return size


def _base_coin(field: Callable[[str], Column]) -> Column:
    """Return contracts x size / price, rounded half up once.

    Spark divides to 38 decimals and then rounds to the scale of the result, both half up. This
    equals a single rounding as long as the price, counted in units of its last decimal, is below
    10^22: a quotient that is no tie at the 16th decimal is then further from a tie than half a unit
    of the 38th. `decimal(22,8)` holds exactly these prices, and with a numerator of 35 digits the
    result is decimal(38,16).
    """
    price, contracts = field("price"), field("qty")
    dollars = F.try_multiply(contracts, contract_size(field("symbol")).cast("decimal(3,0)")).try_cast("decimal(35,8)")
    coins = F.try_divide(dollars, price.try_cast("decimal(22,8)"))
    is_void = (price <= 0) | (contracts <= 0)
    return F.when(is_void, F.lit(0)).otherwise(F.nullif(coins, F.lit(0))).cast(QUOTE_TYPE)


def is_sentinel() -> Column:
    """Return whether the exchange marked the trade as void, by a price or quantity of 0 or less."""
    return (F.col("price") <= 0) | (F.col("qty") <= 0)


def market_source() -> Column:
    """Return SIMULATED for trades of a synthetic market, else EXCHANGE."""
    return F.when(F.col("source") == SIMULATED, SIMULATED).otherwise("EXCHANGE")


def enrich(trades: DataFrame) -> DataFrame:
    """Return `EnrichedTrade` rows.

    They are a pure function of the trade, so that all deliveries of a trade are identical. Receive
    time and raw frame are dropped, because two deliveries of one trade may differ in them. The
    source is reduced to whether the market was synthetic, which is equal in all deliveries.
    """
    return trades.drop("event_time", "ingest_time", "raw").withColumns(_enriched_columns())


@cache
def _enriched_columns() -> dict[str, Column]:
    # Made once, and added in one step: to describe and check a small batch costs more than to
    # compute it.
    base, quote = base_of(F.col("symbol")), quote_of(F.col("symbol"))
    return {
        "base": base,
        "quote": quote,
        "pair": F.concat_ws("-", base, F.when(quote != "", quote)),
        "quote_qty": quote_qty(),
        "is_sentinel": is_sentinel(),
        "minute": F.date_trunc("minute", "trade_time"),
        "bucket": F.date_trunc("hour", "trade_time"),
        "source": market_source(),
    }
