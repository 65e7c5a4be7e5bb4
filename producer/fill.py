"""Fetch what the stream lost, from REST by id, while the stream goes on.

Each id goes out once: pages pass through the same intake and ledger as the live frames, on the same thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
import structlog

from producer import records
from producer.intake import Intake, Line, Origin
from producer.intervals import IntervalSet
from producer.ledger import Gap, StreamLedger
from producer.rest import PAGE, ExchangeRefused, RestClient, jittered
from tickhouse.errors import ExchangeUnavailable

log = structlog.get_logger(__name__)

WORKERS: Final = 4
EMPTY_ATTEMPTS: Final = 5
# A gap of which REST serves nothing, though the stream went on behind it, is asked for again after so long.
RETRY_S: Final = 300.0

# Runs a piece of work while nobody else feeds the intake or saves the ledger.
Exclusive = Callable[[Callable[[], None]], Awaitable[None]]


class Filler:
    """Works on gaps, several at a time.

    Args:
        rest: Where to ask.
        intake: Where pages go; its gap book is what closes.
        exclusive: Runs a feed while nobody else feeds or saves.
        sleep: How to wait.
    """

    def __init__(
        self,
        rest: RestClient,
        intake: Intake,
        exclusive: Exclusive,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if intake.gaps is None:
            raise ValueError("Expected an intake that follows gaps")
        self._rest, self._intake, self._exclusive, self._sleep = rest, intake, exclusive, sleep
        self._book = intake.gaps
        self._work: asyncio.Queue[Gap | StreamLedger] = asyncio.Queue()
        self.pending = 0

    def add(self, item: Gap | StreamLedger) -> None:
        """Queue a gap, or a stream whose end is to be compared with the exchange's (after a reconnect, at start)."""
        self.pending += 1
        self._work.put_nowait(item)

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(WORKERS):
                group.create_task(self._worker())

    async def _worker(self) -> None:
        while True:
            item = await self._work.get()
            try:
                await (self.fill(item) if isinstance(item, Gap) else self.check_tail(item))
            except ExchangeUnavailable as error:
                log.warning("gap filling waits for the exchange", error=str(error))
                await self._sleep(jittered(4))
                self.add(item)
            finally:
                self.pending -= 1

    async def fill(self, gap: Gap) -> None:
        """Fetch one gap until it is closed.

        Raises:
            ExchangeUnavailable: REST does not answer; the gap stays open.
        """
        ledger, empty = self._intake.ledger(gap.symbol, gap.stream), 0
        while gap.state == "open":
            missing = ledger.missing(gap.first_id, gap.last_id)
            if not missing:
                self._book.settle(gap, ledger, self._intake.now_us())
                return
            served = await self._page(gap, ledger, missing[0])
            if not served:
                empty += 1
                if empty >= EMPTY_ATTEMPTS:  # others must not wait behind it
                    log.warning("REST does not serve a gap yet", gap=gap.name)
                    asyncio.get_running_loop().call_later(RETRY_S, self.add, gap)
                    return
                await self._sleep(jittered(empty))

    async def _page(self, gap: Gap, ledger: StreamLedger, hole: tuple[int, int]) -> bool:
        """Ask for the first ids of a hole and take what comes; returns whether that changed anything."""
        low, high = hole
        try:
            rows = await self._rest.trades(gap.stream, gap.symbol, low, min(PAGE, high - low + 1))
        except ExchangeRefused as error:
            self._give_up(gap, low, gap.last_id, f"refused: {error.code}")
            return True
        lines = [(number, bytes(row)) for row in rows if (number := id_of(row, gap.stream)) is not None]
        served = [number for number, _ in lines if number >= low]
        if not served:
            return False
        if served[0] > low:  # ids that old are not served any more (binance-public-data #376)
            self._give_up(gap, low, min(high, served[0] - 1), f"served only from id {served[0]}")
        else:
            await self._feed(gap, [line for line in lines if low <= line[0] <= high])
            self._skip_holes(gap, ledger, low, min(high, served[-1]))
        return True

    def _skip_holes(self, gap: Gap, ledger: StreamLedger, low: int, high: int) -> None:
        """Give up ids that the exchange left out between two that it served."""
        for first, last in ledger.missing(low, high):
            owner = next((g for g in self._book.of(ledger) if g.first_id <= first <= g.last_id), gap)
            self._give_up(owner, first, last, "not served between neighbours")

    def _give_up(self, gap: Gap, low: int, high: int, reason: str) -> None:
        if gap.state == "open":
            self._book.give_up(gap, low, high, now_us=self._intake.now_us(), reason=reason)
            log.warning("ids cannot be filled", gap=gap.name, first_id=low, last_id=high, reason=reason)
            for fresh in self._book.take_fresh():
                self.add(fresh)

    async def check_tail(self, ledger: StreamLedger) -> None:
        """Fetch what follows the last id of a stream, until the exchange has no more or a live frame has told a gap.

        Raises:
            ExchangeUnavailable: REST does not answer.
        """
        while (last := self._last(ledger)) is not None:
            try:
                rows = await self._rest.trades(ledger.stream, ledger.symbol, last + 1)
            except ExchangeRefused as error:
                log.warning("the end of a stream cannot be compared", stream=ledger.name, error=str(error))
                return
            numbers = [(number, bytes(row)) for row in rows if (number := id_of(row, ledger.stream)) is not None]
            fresh = [line for line in numbers if line[0] > last]
            # Live frames may have come meanwhile: what they brought is not sent again, what they skipped is a gap.
            known = self._last(ledger) or last
            if known > last and ledger.missing(last + 1, known):
                return
            await self._feed(ledger, [line for line in fresh if line[0] > known])
            if len(rows) < PAGE or not fresh:
                return

    @staticmethod
    def _last(ledger: StreamLedger) -> int | None:
        ledger.settle()
        return ledger.own.last

    async def _feed(self, of: Gap | StreamLedger, lines: list[tuple[int, bytes]]) -> None:
        origin = rest_origin(of.stream, of.symbol)
        batch: list[Line] = [(raw, None, number) for number, raw in lines]
        await self._exclusive(lambda: self._intake.feed(self._unknown(of, batch), origin))

    def _unknown(self, of: Gap | StreamLedger, batch: list[Line]) -> list[Line]:
        """Drop what a live frame brought while the page was on its way: it is no repeat of the exchange's."""
        ledger = self._intake.ledger(of.symbol, of.stream)
        if not batch:
            return []
        wanted = IntervalSet(ledger.missing(batch[0][2], batch[-1][2]))
        return [line for line in batch if line[2] in wanted]


def id_of(row: msgspec.Raw, stream: str) -> int | None:
    """Return the exchange id of one REST object, None when it cannot be read."""
    _, found = records.identify_rest(stream, "X")(bytes(row))
    return found.exchange_id if found else None


def rest_origin(stream: str, symbol: str) -> Origin:
    """Return the origin of a page of REST trades; a position in it is the id."""
    parse = records.rest_agg_trade(symbol) if stream == "aggTrade" else records.rest_trade(symbol)
    path = "aggTrades" if stream == "aggTrade" else "historicalTrades"
    return Origin(
        "REST", parse, records.identify_rest(stream, symbol), lambda at: f"/{path}?symbol={symbol}&fromId={at}"
    )
