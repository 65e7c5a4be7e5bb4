"""Base and quote asset of a Binance symbol, from the symbol alone.

Enrichment must be a pure function of the trade, so that all deliveries are identical. It cannot use
exchangeInfo, whose content changes when symbols are listed or delisted. The quote asset is the
longest known one with which the symbol ends (`common.pairs`).
"""

from __future__ import annotations

from pyspark.sql import Column
from pyspark.sql import functions as F

from common.pairs import QUOTES


def quote_of(symbol: Column) -> Column:
    """Return the quote asset of symbols such as BTCUSDT or BTCUSD_PERP; empty if unknown."""
    root = F.substring_index(symbol, "_", 1)
    return F.coalesce(F.regexp_extract(root, f"^.+?({'|'.join(QUOTES)})$", 1), F.lit(""))


def base_of(symbol: Column) -> Column:
    """Return the base asset of symbols: the part before the quote asset, or the whole name."""
    root = F.substring_index(symbol, "_", 1)
    return F.substring(root, F.lit(1), F.length(root) - F.length(quote_of(symbol)))
