"""What symbols did in a window of time, from their candles: movers and rolling statistics."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Context, Decimal, localcontext
from typing import Any, Final, LiteralString

from api.answers import decimal_text, utc_text
from api.stores import Stores
from schemas.contracts import size_of, vwap

_MINUTE: Final = timedelta(minutes=1)
DAY: Final = timedelta(hours=24)
# A window ends with the newest minute that traded: of a market in the past, "now" is then.
_NEWEST: Final[LiteralString] = """
SELECT max(open_time) FROM market.candles_1m
WHERE market = %(market)s AND (%(symbol)s::text IS NULL OR symbol = %(symbol)s)
"""
_WINDOWS: Final[LiteralString] = """
SELECT symbol, (array_agg(open ORDER BY open_time))[1] AS open, max(high), min(low),
       (array_agg(close ORDER BY open_time DESC))[1] AS close, sum(volume), sum(quote_volume), sum(trades)::bigint
FROM market.candles
WHERE market = %(market)s AND (%(symbol)s::text IS NULL OR symbol = %(symbol)s)
      AND open_time > %(after)s AND open_time <= %(newest)s
GROUP BY symbol ORDER BY symbol
"""
_STEP: Final = Decimal("0.00000001")
# A price has up to 28 digits, and a ratio of two of them up to 38 before its decimals.
_EXACT: Final = Context(prec=100)


async def windows(stores: Stores, market: str, symbol: str | None, length: timedelta) -> list[dict[str, Any]]:
    """Return what each symbol did in the window that ends with the newest candle, by name.

    Raises:
        psycopg.Error: PostgreSQL does not answer.
    """
    names: dict[str, Any] = {"market": market, "symbol": symbol}
    newest: datetime | None = (await stores.rows(_NEWEST, names))[0][0]
    if newest is None:
        return []
    rows = await stores.rows(_WINDOWS, {**names, "after": newest - length, "newest": newest})
    end = newest + _MINUTE
    times = {"from": utc_text(end - length), "to": utc_text(end)}
    return [_window(market, times, row) for row in rows]


def _window(market: str, times: dict[str, str], row: tuple[Any, ...]) -> dict[str, Any]:
    symbol, open_, high, low, close, volume, quote_volume, trades = row
    return {
        "market": market,
        "symbol": symbol,
        **times,
        **{name: decimal_text(value) for name, value in (("open", open_), ("high", high), ("low", low))},
        "close": decimal_text(close),
        "change_percent": decimal_text(change_percent(open_, close)),
        "volume": decimal_text(volume),
        "quote_volume": decimal_text(quote_volume),
        "vwap": decimal_text(vwap(volume, quote_volume, size_of(market, symbol))),
        "trades": trades,
    }


def change_percent(open_: Decimal, close: Decimal) -> Decimal:
    """Return (close - open) / open in percent, with 8 decimals, rounded half up (pure)."""
    with localcontext(_EXACT):
        return (100 * (close - open_) / open_).quantize(_STEP, ROUND_HALF_UP)


def movers(rows: list[dict[str, Any]], limit: int) -> list[dict[str, Any]]:
    """Return the symbols that moved most, in either direction (pure)."""
    names = ("market", "symbol", "open", "close", "change_percent", "quote_volume")
    most = sorted(rows, key=lambda row: (-abs(Decimal(row["change_percent"])), row["symbol"]))
    return [{name: row[name] for name in names} for row in most[:limit]]
