"""The default symbols of the synthetic market, with realistic prices, ticks and steps."""

from __future__ import annotations

from dataclasses import replace

from standins.exchange.trade_columns import MarketName, SymbolSpec

# Columns: symbol, base, quote, price, tick, step, typical quantity in steps, weight. Ticks and
# steps follow exchangeInfo of 2021 to 2024: they go down to 0.00000001, prices have up to 10
# integer digits (BTCIDR) and quantities up to 11 (meme coins; MAX_QTY of the market). The quote
# volume of ETHBTC and ADABTC needs 9 decimals.
_TABLE = (
    ("BTCUSDT", "BTC", "USDT", "61685.99", "0.01", "0.00001", 1800, 260),
    ("ETHUSDT", "ETH", "USDT", "2613.41", "0.01", "0.0001", 2400, 190),
    ("SOLUSDT", "SOL", "USDT", "154.27", "0.01", "0.001", 3100, 120),
    ("XRPUSDT", "XRP", "USDT", "0.6127", "0.0001", "1", 420, 80),
    ("BNBUSDT", "BNB", "USDT", "512.30", "0.10", "0.001", 300, 70),
    ("DOGEUSDT", "DOGE", "USDT", "0.10412", "0.00001", "1", 2500, 60),
    ("PEPEUSDT", "PEPE", "USDT", "0.00000821", "0.00000001", "1.00", 31000000, 50),
    ("SHIBUSDT", "SHIB", "USDT", "0.00001374", "0.00000001", "1.00", 9000000, 40),
    ("ADAUSDT", "ADA", "USDT", "0.3391", "0.0001", "0.1", 9000, 40),
    ("TRXUSDT", "TRX", "USDT", "0.2313", "0.0001", "0.1", 12000, 35),
    ("AVAXUSDT", "AVAX", "USDT", "21.73", "0.01", "0.01", 2200, 35),
    ("LINKUSDT", "LINK", "USDT", "10.46", "0.01", "0.01", 3300, 30),
    ("DOTUSDT", "DOT", "USDT", "4.581", "0.001", "0.01", 4000, 25),
    ("LTCUSDT", "LTC", "USDT", "59.83", "0.01", "0.001", 5200, 25),
    ("BTCFDUSD", "BTC", "FDUSD", "61690.01", "0.01", "0.00001", 2100, 90),
    ("ETHFDUSD", "ETH", "FDUSD", "2613.77", "0.01", "0.0001", 1900, 45),
    ("BTCUSDC", "BTC", "USDC", "61684.50", "0.01", "0.00001", 1300, 45),
    ("BTCEUR", "BTC", "EUR", "56512.14", "0.01", "0.00001", 900, 25),
    ("BTCIDR", "BTC", "IDR", "985432100", "1", "0.00001", 150, 6),
    ("ETHBTC", "ETH", "BTC", "0.04236", "0.00001", "0.0001", 7000, 30),
    ("ADABTC", "ADA", "BTC", "0.00000549", "0.00000001", "0.1", 15000, 12),
    ("XRPETH", "XRP", "ETH", "0.00023445", "0.00000001", "1", 800, 10),
    ("BNBBTC", "BNB", "BTC", "0.008305", "0.000001", "0.001", 900, 18),
    ("EURUSDT", "EUR", "USDT", "1.0916", "0.0001", "0.1", 8000, 20),
    ("SUIUSDT", "SUI", "USDT", "0.9114", "0.0001", "0.1", 14000, 30),
    ("WIFUSDT", "WIF", "USDT", "1.734", "0.001", "0.01", 9000, 22),
    ("NEARUSDT", "NEAR", "USDT", "4.012", "0.001", "0.1", 3100, 18),
    ("USDCUSDT", "USDC", "USDT", "1.0001", "0.0001", "1", 6100, 14),
)

DEFAULTS = {row[0]: SymbolSpec(*row) for row in _TABLE}

# The symbol that is listed in the middle of a run, unless the configuration names another.
NEW_SYMBOL = SymbolSpec("TICKUSDT", "TICK", "USDT", "0.5000", "0.0001", "0.1", 21000, 12)


def spec_of(symbol: str, market: MarketName) -> SymbolSpec:
    """Return the symbol's default specification on a market.

    Raises:
        KeyError: There is no default with this name.
    """
    spec = NEW_SYMBOL if symbol == NEW_SYMBOL.symbol else DEFAULTS[symbol]
    return replace(spec, market=market)
