"""Base and quote asset of a Binance symbol, from the symbol alone.

The quote asset is the longest known one with which the symbol ends.
"""

from __future__ import annotations

# Quote assets of Binance's exchangeInfo: a capture of 2021 with 1,695 symbols, and those listed
# since. The longest come first, so that FDUSD and BUSD are tried before USD.
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


def split_pair(symbol: str) -> tuple[str, str]:
    """Return base and quote asset of BTCUSDT or BTCUSD_PERP; an unknown quote is empty."""
    root = symbol.partition("_")[0]
    quote = next((known for known in QUOTES if root.endswith(known) and root != known), "")
    return root.removesuffix(quote), quote
