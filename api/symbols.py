"""Which symbols the stores hold, and which name a wrong one is near to."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from api.stores import Stores
from tickhouse.known_names import KNOWN_PAIRS, Pair, require_market, require_pair

# A new symbol is known this long after its first candle.
KEPT_S: Final = 2.0


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
        rows = await self._stores.rows(KNOWN_PAIRS, {})
        self._known = {(market, symbol): None for market, symbol in rows}
        self._read_at = time.monotonic()

    async def require(self, market: str, symbol: str) -> Pair:
        """Return market and symbol as the stores have them.

        Raises:
            UnknownName: There is no such market or symbol; the message has the nearest names.
            psycopg.Error: PostgreSQL does not answer.
        """
        require_market(market)  # also while PostgreSQL is away
        return require_pair(market, symbol, await self.known(), command=f"GET /v1/symbols?market={market}")
