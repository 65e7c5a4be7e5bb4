"""Read candles and applied ids from PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal
from typing import Any, LiteralString

import psycopg

from tickhouse.checks.reconcile.bars import MinuteBar
from tickhouse.checks.reconcile.expired import Removed
from tickhouse.checks.reconcile.model import CheckedStream
from tickhouse.checks.reconcile.ranges import Range

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EXACT = Context(prec=100)
# The order of `MinuteBar`, with the key's three columns first.
_BARS: LiteralString = (
    "SELECT market, symbol, stream, open_time, open, high, low, close, volume, quote_volume, vwap, trades, agg_trades, "
    "taker_buy_volume, taker_buy_quote_volume, open_trade_id, close_trade_id, checksum "
    "FROM market.candles_1m"
)
_PLACES = (8, 8, 8, 8, 8, 16, 16, 0, 0, 8, 16, 0, 0, 0)


def bars(connection: psycopg.Connection[Any]) -> Iterator[MinuteBar]:
    """Yield every row of market.candles_1m."""
    with connection.cursor(name="tickhouse_reconcile") as cursor:
        cursor.itersize = 10_000
        cursor.execute(_BARS)
        for row in cursor:
            yield bar_of_row(row)


def redriven(connection: psycopg.Connection[Any], topic: str) -> set[tuple[int, int]]:
    """Return partition and offset of the dead letters of a topic that were sent again."""
    rows = connection.execute(
        "SELECT letter_partition, letter_offset FROM audit.redrives WHERE letter_topic = %s AND state = 'sent'", [topic]
    )
    return {(partition, offset) for partition, offset in rows}


def removals(connection: psycopg.Connection[Any]) -> list[Removed]:
    """Return what retention has removed from the stores of events, or was about to remove."""
    query: LiteralString = "SELECT store, event_from, event_until, arrived_before FROM audit.removals ORDER BY 1, 2"
    return [
        Removed(store, micros(start), micros(end), micros(arrived) // 1000)
        for store, start, end, arrived in connection.execute(query)
    ]


def bar_of_row(row: tuple[Any, ...]) -> MinuteBar:
    """Return the bar in a row of the query."""
    numbers = (_unscaled(value, places) for value, places in zip(row[4:], _PLACES, strict=True))
    return MinuteBar(CheckedStream(*row[:3]), micros(row[3]), *numbers)


def applied(connection: psycopg.Connection[Any]) -> dict[CheckedStream, list[Range]]:
    """Return the ids that market.trade_ranges says are in the candles (sentinels included), as
    inclusive ranges.
    """
    query: LiteralString = (
        "SELECT market, symbol, stream, lower(ids), upper(ids) - 1 FROM market.trade_ranges, unnest(seen) AS ids "
        "ORDER BY 1, 2, 3, 4"
    )
    found: dict[CheckedStream, list[Range]] = {}
    for market, symbol, stream, low, high in connection.execute(query):
        found.setdefault(CheckedStream(market, symbol, stream), []).append((low, high))
    return found


def _unscaled(value: Decimal | int, places: int) -> int:
    """Return a numeric as a scaled integer; its column has at most `places` decimals."""
    if isinstance(value, int):
        return value
    return int(value.scaleb(places, _EXACT).to_integral_exact(context=_EXACT))


def micros(moment: datetime) -> int:
    """Return a moment as microseconds since 1970 UTC, exactly."""
    return (moment - _EPOCH) // timedelta(microseconds=1)
