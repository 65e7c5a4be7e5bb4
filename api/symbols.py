"""Which symbols the stores hold, and which name a wrong one is near to."""

from __future__ import annotations

import asyncio
import time
from typing import Final, LiteralString

from api.stores import Stores
from common.errors import UnknownName
from common.symbols import nearest, upper_latin
from producer.events import MARKETS
from tickhouse.read.lake_tables import nearest_names

# A new symbol is known this long after its first candle.
KEPT_S: Final = 2.0
# One index look-up per stream; DISTINCT would read every block of ids.
_QUERY: Final[LiteralString] = """
WITH RECURSIVE streams AS (
    (SELECT market, symbol, stream FROM market.trade_ranges ORDER BY market, symbol, stream LIMIT 1)
    UNION ALL
    SELECT following.* FROM streams AS s, LATERAL (
        SELECT r.market, r.symbol, r.stream FROM market.trade_ranges AS r
        WHERE (r.market, r.symbol, r.stream) > (s.market, s.symbol, s.stream)
        ORDER BY r.market, r.symbol, r.stream LIMIT 1
    ) AS following
)
SELECT DISTINCT market, symbol FROM streams ORDER BY market, symbol
"""

Pair = tuple[str, str]


class Symbols:
    """The known symbols, read again when they are too old."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._known: dict[Pair, None] = {}
        self._read_at = -KEPT_S
        self._reading: asyncio.Task[None] | None = None

    async def known(self) -> dict[Pair, None]:
        """Return market and symbol of all streams that have candles, sorted.

        Raises:
            psycopg.Error: PostgreSQL does not answer.
        """
        if time.monotonic() - self._read_at > KEPT_S:
            # One query for all requests that come meanwhile: under load, a query for each would
            # make all of them slower and slower.
            if self._reading is None or self._reading.done():
                self._reading = asyncio.create_task(self._read())
            await asyncio.shield(self._reading)
        return self._known

    async def _read(self) -> None:
        rows = await self._stores.rows(_QUERY, {})
        self._known = {(market, symbol): None for market, symbol in rows}
        self._read_at = time.monotonic()

    async def require(self, market: str, symbol: str) -> Pair:
        """Return market and symbol as the stores have them.

        Raises:
            UnknownName: There is no such market or symbol; the message has the nearest names.
            psycopg.Error: PostgreSQL does not answer.
        """
        pair = (check_market(market), upper_latin(symbol))
        known = await self.known()
        if pair in known:
            return pair
        others = [other for other in MARKETS if (other, pair[1]) in known]
        hint = f" Market {', '.join(others)} has it." if others else ""
        near = nearest_names(nearest(symbol), (name for of_market, name in known if of_market == market))
        raise UnknownName(
            f"Market {market} has no symbol {shown(symbol)}.{hint} The nearest: {near}.",
            next_command=f"GET /v1/symbols?market={market}",
        )


def check_market(market: str) -> str:
    """Return a market that exists.

    Raises:
        UnknownName: It does not.
    """
    if market not in MARKETS:
        raise UnknownName(f"There is no market {shown(market)}. The nearest: {nearest_names(market, MARKETS)}.")
    return market


def shown(text: str) -> str:
    """Return a given text for a message: quoted, without control characters (pure)."""
    return repr(text).encode("utf-8", "backslashreplace").decode()
