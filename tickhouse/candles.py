"""Read candles from PostgreSQL and aggregate them into longer bars, exactly.

A symbol's candles come from the view `market.candles`. For a minute that has both single and
aggregate trades, the view returns the more complete candle. Longer intervals start at multiples of
their length since 1970 UTC.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal, localcontext
from itertools import groupby
from typing import Any, LiteralString

import psycopg

from common.errors import ConfigurationError, StoreUnavailable
from common.symbols import upper_latin
from tickhouse.known_names import KNOWN_PAIRS, require_market, require_pair

INTERVALS_MS = {"1m": 60_000, "5m": 300_000, "15m": 900_000, "1h": 3_600_000, "1d": 86_400_000}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
# The default context would round a sum to 28 digits; a value of numeric(38,16) has up to 38.
_EXACT = Context(prec=100)
_QUERY: LiteralString = (
    "SELECT open_time, open, high, low, close, volume, quote_volume, trades, taker_buy_volume, taker_buy_quote_volume "
    "FROM market.candles WHERE market = %s AND symbol = %s AND open_time >= %s AND open_time < %s ORDER BY open_time"
)


@dataclass(frozen=True)
class CandleBar:
    """One OHLC bar; prices and volumes are exact, and `trades` is the number of single trades."""

    open_time_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    quote_volume: Decimal
    trades: int
    taker_buy_volume: Decimal
    taker_buy_quote_volume: Decimal

    def document(self) -> dict[str, Any]:
        """Return the candle for JSON, with decimals as text without an exponent."""
        return {name: f"{value:f}" if isinstance(value, Decimal) else value for name, value in vars(self).items()}


def parse_time(text: str) -> datetime:
    """Parse ISO 8601 (UTC unless it has a zone) or milliseconds since 1970.

    Raises:
        ConfigurationError: It is neither, or a time that PostgreSQL cannot store.
    """
    try:
        if re.fullmatch(r"-?[0-9]+", text):
            return _EPOCH + int(text) * _MILLISECOND
        parsed = datetime.fromisoformat(text)
        return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ConfigurationError(f"Expected an ISO 8601 time or milliseconds since 1970, was {text!r}.") from error


def length_ms(interval: str) -> int:
    """Return an interval's length in milliseconds.

    Raises:
        ConfigurationError: The interval is unknown.
    """
    if interval not in INTERVALS_MS:
        raise ConfigurationError(f"Expected one of the intervals {', '.join(INTERVALS_MS)}, was {interval!r}.")
    return INTERVALS_MS[interval]


def aggregated(minutes: Iterable[CandleBar], interval_ms: int) -> Iterator[CandleBar]:
    """Yield longer bars from one-minute candles, oldest first; an empty interval has no bar."""
    for start, group in groupby(minutes, key=lambda candle: candle.open_time_ms - candle.open_time_ms % interval_ms):
        yield _sum(start, list(group))


def _sum(start_ms: int, group: list[CandleBar]) -> CandleBar:
    with localcontext(_EXACT):
        return CandleBar(
            open_time_ms=start_ms,
            open=group[0].open,
            high=max(candle.high for candle in group),
            low=min(candle.low for candle in group),
            close=group[-1].close,
            volume=sum((candle.volume for candle in group[1:]), group[0].volume),
            quote_volume=sum((candle.quote_volume for candle in group[1:]), group[0].quote_volume),
            trades=sum(candle.trades for candle in group),
            taker_buy_volume=sum((candle.taker_buy_volume for candle in group[1:]), group[0].taker_buy_volume),
            taker_buy_quote_volume=sum(
                (candle.taker_buy_quote_volume for candle in group[1:]), group[0].taker_buy_quote_volume
            ),
        )


def read(dsn: str, market: str, symbol: str, *, interval: str, start: datetime, end: datetime) -> list[CandleBar]:
    """Return the candles with an open time in [start, end).

    An interval is included when its start is in this range; then all of its minutes are read.

    Args:
        dsn: PostgreSQL, as tickhouse_reader.
        market: spot, usdm or coinm.
        symbol: The exchange's own symbol, in any case.
        interval: One of `INTERVALS_MS`.
        start: First open time.
        end: Last open time, exclusive.

    Raises:
        ConfigurationError: The interval is unknown, or the range is empty.
        UnknownName: There is no such market, or it has no candle of the symbol at any time.
        StoreUnavailable: PostgreSQL does not answer.
    """
    length = length_ms(interval)
    require_market(market)
    if start >= end:
        raise ConfigurationError(f"The range is empty: its start {start:%F %T} is not before its end {end:%F %T}.")
    first, last = _round_up(start, length), _round_up(end, length)
    try:
        with psycopg.connect(dsn, connect_timeout=10) as connection:
            rows = connection.execute(_QUERY, (market, upper_latin(symbol), first, last)).fetchall()
            if not rows:
                known = connection.execute(KNOWN_PAIRS).fetchall()
                require_pair(market, symbol, known, command="tickhouse status")
    except psycopg.Error as error:
        raise StoreUnavailable(
            f"PostgreSQL cannot be read: {str(error).strip()}", next_command="tickhouse status"
        ) from error
    return list(aggregated((_candle(row) for row in rows), length))


def _round_up(time: datetime, length: int) -> datetime:
    """Return the first start of an interval that is not before `time`."""
    step = length * _MILLISECOND
    return time + (_EPOCH - time) % step


def _candle(row: tuple[Any, ...]) -> CandleBar:
    return CandleBar((row[0] - _EPOCH) // _MILLISECOND, *row[1:])
