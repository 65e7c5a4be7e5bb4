"""Request ids whose frame was rejected from REST, once.

REST may serve a valid trade where the stream sent a broken one.

The ids rejected since the last check are requested in a few pages per stream, and never again. An
id that is broken in REST too stays a dead letter.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import structlog

from common.errors import ExchangeUnavailable
from common.intervals import IntervalSet
from producer.events import TRADE_STREAMS, Line
from producer.exchange.rest import PAGE, RestClient
from producer.exchange.rest_responses import ExchangeRefused
from producer.recovery.gap_filling import Exclusive
from producer.recovery.rest_pages import rest_origin
from producer.writer.intake import Intake

log = structlog.get_logger(__name__)

EVERY_S: Final = 5.0
# When every frame is rejected, the format has changed, and most likely REST's has too: more pages
# would not help.
MOST_PAGES: Final = 5


class RejectedIdRetry:
    """Requests the rejected ids of one live producer from REST.

    Args:
        rest: Serves the trades.
        intake: Collects the rejected ids, and takes the rows of the pages.
        exclusive: Runs a function while nothing else feeds or saves.
        sleep: Waits for the given seconds.
    """

    def __init__(
        self,
        rest: RestClient,
        intake: Intake,
        exclusive: Exclusive,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._rest, self._intake, self._exclusive, self._sleep = rest, intake, exclusive, sleep

    async def run(self) -> None:
        """Request rejected ids every `EVERY_S` seconds until cancelled."""
        while True:
            await self._sleep(EVERY_S)
            await self.retry_new_ids()

    async def retry_new_ids(self) -> None:
        """Request the ids rejected since the last call.

        When REST does not answer, they are kept for the next call.
        """
        rejected, self._intake.rejected_ids = self._intake.rejected_ids, {}
        for (stream, symbol), ids in rejected.items():
            if stream not in TRADE_STREAMS:
                continue
            try:
                await self._request_ids(stream, symbol, ids)
            except ExchangeRefused as error:
                log.warning("rejected ids stay dead letters", symbol=symbol, stream=stream, error=str(error))
            except ExchangeUnavailable as error:
                log.warning("rejected ids are requested again later", symbol=symbol, stream=stream, error=str(error))
                self._intake.rejected_ids.setdefault((stream, symbol), IntervalSet()).update(ids)

    async def _request_ids(self, stream: str, symbol: str, ids: IntervalSet) -> None:
        for _ in range(MOST_PAGES):
            low = ids.first
            if low is None:
                return
            page = (low, low + PAGE - 1)
            rows = await self._rest.trades(stream, symbol, low, ids.within(*page)[-1][1] - low + 1)
            lines: list[Line] = [(raw, None, number) for number, raw in rows if number in ids]
            await self._exclusive(partial(self._feed, stream, symbol, lines))
            ids.remove([page])
        if len(ids):
            log.warning(
                "too many rejected ids: the rest stays dead letters", symbol=symbol, stream=stream, ids=ids.count()
            )

    def _feed(self, stream: str, symbol: str, lines: list[Line]) -> None:
        """Feed the rows whose ids are still only dead letters."""
        ledger = self._intake.ledger(symbol, stream)
        self._intake.feed([line for line in lines if line[2] in ledger.rejected], rest_origin(stream, symbol))
