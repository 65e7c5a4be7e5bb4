"""Base and quote of a Binance symbol, from the symbol alone.

Enrichment must be a pure function of the trade (every delivery identical), so it cannot ask exchangeInfo, whose
answer changes when symbols are listed or broken. The quote is the longest known quote asset that ends the symbol.
"""

from __future__ import annotations

from pyspark.sql import Column
from pyspark.sql import functions as F

# Quote assets of Binance's exchangeInfo (2021 capture of 1,695 symbols, and those listed since). Longest first, so
# that FDUSD wins over USD and BUSD over USD; assets that only ever are bases are left out.
QUOTES = tuple(
    sorted(
        (
            *("USDT", "USDC", "FDUSD", "TUSD", "BUSD", "USDP", "USDS", "USD1", "PAX", "DAI", "AEUR", "EURI", "USD"),
            *("BTC", "ETH", "BNB", "TRX", "XRP", "DOGE", "DOT", "VAI", "IDRT", "BIDR", "BKRW", "BVND"),
            *("EUR", "GBP", "AUD", "TRY", "BRL", "RUB", "UAH", "NGN", "ZAR", "PLN", "RON", "ARS", "JPY"),
            *("MXN", "CZK", "COP", "IDR", "UST"),
        ),
        key=lambda quote: (-len(quote), quote),
    )
)


def quote_of(symbol: Column) -> Column:
    """Return the quote asset of symbols such as BTCUSDT, BTCUSDT_240927 or BTCUSD_PERP; empty where none is known."""
    root = F.substring_index(symbol, "_", 1)
    return F.coalesce(F.regexp_extract(root, f"^.+?({'|'.join(QUOTES)})$", 1), F.lit(""))


def base_of(symbol: Column) -> Column:
    """Return the base asset of a symbol column: what stands before the quote, or the whole name."""
    root = F.substring_index(symbol, "_", 1)
    return F.substring(root, F.lit(1), F.length(root) - F.length(quote_of(symbol)))
