"""Quotients and roots of exact decimals, rounded once, half up.

Spark's own division rounds to a scale of its choice. These columns run Python per row, so they are
for tables with one row per bar, not for one row per trade.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import ROUND_HALF_UP, Context, Decimal

from pyspark.sql import Column
from pyspark.sql import functions as F

from schemas.contracts import size_of, vwap

# 38 digits over 38, and the square of that: 120 digits divide without a second rounding.
_EXACT = Context(prec=120)
RETURN_PLACES = 12


def quotient(numerator: Decimal | None, denominator: Decimal | None, places: int) -> Decimal | None:
    """Return the quotient, rounded half up; None if a value is None or the denominator is 0."""
    if numerator is None or denominator is None or not denominator:
        return None
    return _EXACT.divide(numerator, denominator).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP, _EXACT)


def squared_return(close: Decimal | None, before: Decimal | None) -> Decimal | None:
    """Return (close / before - 1) squared: the return has 12 decimals, its square exactly 24."""
    if close is None or before is None:
        return None
    change = quotient(_EXACT.subtract(close, before), before, RETURN_PLACES)
    return None if change is None else _EXACT.multiply(change, change)


def root(value: Decimal | None, places: int) -> Decimal | None:
    """Return the square root, rounded half up; None for None."""
    return None if value is None else _EXACT.sqrt(value).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP, _EXACT)


def quotient_column(numerator: Column, denominator: Column, places: int) -> Column:
    """Return `quotient` as decimal(38, places)."""
    return _udf(lambda a, b: quotient(a, b, places), f"decimal(38,{places})")(numerator, denominator)


def vwap_column(volume: Column, quote_volume: Column) -> Column:
    """Return `schemas.contracts.vwap` as decimal(38,16).

    The table must have the columns `market` and `symbol`.
    """
    return _udf(_vwap, "decimal(38,16)")(F.col("market"), F.col("symbol"), volume, quote_volume)


def _vwap(market: str, symbol: str, volume: Decimal | None, quote_volume: Decimal | None) -> Decimal | None:
    return vwap(volume, quote_volume, size_of(market, symbol))


def squared_return_column(close: Column, before: Column) -> Column:
    """Return `squared_return` as decimal(38,24)."""
    return _udf(squared_return, "decimal(38,24)")(close, before)


def root_column(value: Column, places: int) -> Column:
    """Return `root` as decimal(38, places)."""
    return _udf(lambda a: root(a, places), f"decimal(38,{places})")(value)


def _udf(function: Callable[..., Decimal | None], kind: str) -> Callable[..., Column]:
    column_function: Callable[..., Column] = F.udf(function, kind, useArrow=False)
    return column_function
