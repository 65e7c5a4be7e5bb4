"""Rolling 24-hour statistics as Geode holds them: keys, and what readers get.

A stream has one entry in region `statistics_24h`, and one per minute of its window in region
`statistics_minutes` (docs/adr/0031-shared-state-in-geode.md). The part of a key before the bar
names the symbol, and all entries of a symbol are on one member.
"""

from __future__ import annotations

from typing import Final

from common.clients.geode import STATISTICS, Geode, Value
from common.event_ids import StreamName

MINUTE_US: Final = 60_000_000
# A window of 24 hours that ends with the newest minute in which the stream traded.
WINDOW_MINUTES: Final = 1_440


def statistics_key(stream: StreamName) -> str:
    """Return `<market>:<SYMBOL>|<stream>`."""
    return f"{stream.market}:{stream.symbol}|{stream.stream}"


def minute_key(stream: StreamName, minute_us: int) -> str:
    """Return `<market>:<SYMBOL>|<stream>:<minutes since 1970>`."""
    return f"{statistics_key(stream)}:{minute_us // MINUTE_US}"


def parse_minute_key(key: str) -> tuple[StreamName, int] | None:
    """Return stream and minute of a key that `minute_key` made; None for another key."""
    symbol, _, rest = key.partition("|")
    market, _, name = symbol.partition(":")
    stream, _, minute = rest.partition(":")
    if not (market and name and stream and minute.isdecimal()):
        return None
    return StreamName(market, name, stream), int(minute) * MINUTE_US


def window_start_us(newest_us: int) -> int:
    """Return the first minute of the window that ends with a minute."""
    return newest_us - (WINDOW_MINUTES - 1) * MINUTE_US


def statistics_of(geode: Geode, stream: StreamName) -> Value | None:
    """Return a stream's statistics, None when there are none. It raises what `Geode.get` raises."""
    return geode.get(STATISTICS, statistics_key(stream))


def all_statistics(geode: Geode, market: str = "", symbol: str = "") -> list[Value]:
    """Return the statistics of all streams, or of one market or symbol, sorted by their key.

    It raises what `Geode.get` raises.
    """
    chosen = [
        one
        for one in geode.values(STATISTICS)
        if (not market or one["market"] == market) and (not symbol or one["symbol"] == symbol)
    ]
    return sorted(chosen, key=lambda one: (one["market"], one["symbol"], one["stream"]))
