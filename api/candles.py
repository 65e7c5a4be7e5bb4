"""Pages of candles, live from PostgreSQL or from a commit of the lake.

A page holds the intervals of `limit` candles at most. PostgreSQL adds up the minutes, exactly; the
figures equal those of `tickhouse candles` to the digit (tests/integration/api/test_candles.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, LiteralString

from api.answers import decimal_text, page, utc_text
from api.parameters import FIRST, LAST
from api.stores import Stores
from schemas.contracts import size_of, vwap
from tickhouse.candles import INTERVALS_MS

_MS: Final = timedelta(milliseconds=1)
# The view has one candle per minute, so that LIMIT bounds the time that a query takes.
_MINUTES: LiteralString = """
    SELECT open_time, open, high, low, close, volume, quote_volume, trades, taker_buy_volume
    FROM market.candles
    WHERE market = %(market)s AND symbol = %(symbol)s AND open_time >= %(first)s AND open_time < %(end)s
    ORDER BY open_time LIMIT %(minutes)s
"""
ONE_MINUTE: LiteralString = f"""
    SELECT open_time, open::text, high::text, low::text, close::text, volume::text, quote_volume::text, trades,
           taker_buy_volume::text
    FROM ({_MINUTES}) AS minutes ORDER BY open_time
"""  # noqa: S608 - both texts are ours
_LONGER: LiteralString = f"""
    SELECT date_bin(%(length)s, open_time, '1970-01-01Z') AS start,
           (array_agg(open ORDER BY open_time))[1]::text, max(high)::text, min(low)::text,
           (array_agg(close ORDER BY open_time DESC))[1]::text, sum(volume)::text, sum(quote_volume)::text,
           sum(trades)::bigint, sum(taker_buy_volume)::text
    FROM ({_MINUTES}) AS minutes GROUP BY start ORDER BY start
"""  # noqa: S608 - as above
_NEWEST: LiteralString = """
    SELECT max(open_time) FROM market.candles_1m
    WHERE market = %(market)s AND symbol = %(symbol)s AND open_time < %(end)s
"""


@dataclass(frozen=True, slots=True)
class CandlePage:
    """Which candles to read.

    Attributes:
        first: First open time; None for the newest candles.
        end: Last open time, exclusive; None for no end.
    """

    market: str
    symbol: str
    interval: str
    first: datetime | None
    end: datetime | None
    limit: int

    @property
    def length(self) -> timedelta:
        """Return the length of the interval."""
        return INTERVALS_MS[self.interval] * _MS

    def start_of(self, moment: datetime) -> datetime:
        """Return the first start of an interval that is not before a time (pure)."""
        return moment + (FIRST - moment) % self.length


async def live_page(stores: Stores, wanted: CandlePage, now: datetime) -> dict[str, Any]:
    """Return a page of candles of PostgreSQL.

    Raises:
        psycopg.Error: PostgreSQL does not answer.
    """
    end = wanted.start_of(wanted.end or LAST)
    first = await _first(stores, wanted, end)
    if first is None:
        return page([])
    minutes_per_bar = wanted.length // timedelta(minutes=1)
    parameters = {
        "market": wanted.market,
        "symbol": wanted.symbol,
        "first": first,
        "end": end,
        # One interval more than the page shows, so that its last one is whole.
        "minutes": (wanted.limit + 1) * minutes_per_bar,
        "length": wanted.length,
    }
    rows = await stores.rows(ONE_MINUTE if minutes_per_bar == 1 else _LONGER, parameters)
    size = size_of(wanted.market, wanted.symbol)
    bars = [_bar(row, size, is_closed=row[0] + wanted.length <= now) for row in rows[: wanted.limit]]
    following = rows[wanted.limit][0] if len(rows) > wanted.limit else None
    return page(bars, None if following is None else cursor_of(following))


async def _first(stores: Stores, wanted: CandlePage, end: datetime) -> datetime | None:
    """Return the first open time of a page; without a wish, that of the newest intervals."""
    if wanted.first is not None:
        return wanted.start_of(wanted.first)
    rows = await stores.rows(_NEWEST, {"market": wanted.market, "symbol": wanted.symbol, "end": end})
    newest: datetime | None = rows[0][0]
    if newest is None:
        return None
    start = newest - (newest - FIRST) % wanted.length
    return start - (wanted.limit - 1) * wanted.length


def _bar(row: tuple[Any, ...], size: int | None, *, is_closed: bool) -> dict[str, Any]:
    opened, open_, high, low, close, volume, quote_volume, trades, taker_buy_volume = row
    return {
        "open_time": utc_text(opened),
        "open": open_,
        "high": high,
        "low": low,
        "close": close,
        "volume": volume,
        "quote_volume": quote_volume,
        "vwap": decimal_text(vwap(Decimal(volume), Decimal(quote_volume), size)),
        "trades": trades,
        "taker_buy_volume": taker_buy_volume,
        "is_closed": is_closed,
    }


def cursor_of(moment: datetime) -> str:
    """Return the cursor of a page that begins at a time: milliseconds since 1970 (pure)."""
    return str((moment - FIRST) // _MS)


def moment_of(cursor: str) -> datetime:
    """Return the time at which a page begins (pure)."""
    return min(FIRST + int(cursor) * _MS, LAST).astimezone(UTC)
