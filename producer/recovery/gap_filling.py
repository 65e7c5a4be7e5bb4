"""Fetch the ids that a stream lost from REST, while the stream continues.

Each id is sent once: pages of REST go through the same intake and ledger as the live frames, on the
same thread.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from common.errors import ExchangeUnavailable
from common.intervals import IntervalSet
from producer.events import Line
from producer.exchange.rest import PAGE, RestClient, jittered
from producer.exchange.rest_responses import ExchangeRefused, Row
from producer.ledger.gaps import Gap
from producer.ledger.stream_ledger import StreamLedger
from producer.recovery.rest_pages import fetch_page, rest_origin
from producer.writer.intake import Intake, Origin

log = structlog.get_logger(__name__)

WORKERS: Final = 4
EMPTY_ATTEMPTS: Final = 5
# When REST serves nothing of a gap, although the stream has later ids, the gap is requested again
# after this many seconds.
RETRY_S: Final = 300.0

# Runs a function while nothing else feeds the intake or saves the ledger.
Exclusive = Callable[[Callable[[], None]], Awaitable[None]]
# Returns the exchange's clock (ms) when a stream was subscribed, None when it is not known.
ListeningSince = Callable[[StreamLedger], "int | None"]


class GapFiller:
    """Fills gaps, `WORKERS` at a time.

    Args:
        rest: Serves the missing trades.
        intake: Takes the rows of the pages, and closes the gaps of its gap book.
        exclusive: Runs a function while nothing else feeds or saves.
        sleep: Waits for the given seconds.
        listening_since: Returns when a stream was subscribed. A stream without any frame begins
            then.
    """

    def __init__(
        self,
        rest: RestClient,
        intake: Intake,
        exclusive: Exclusive,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        listening_since: ListeningSince = lambda _: None,
    ) -> None:
        if intake.gaps is None:
            raise ValueError("This intake has no gap book.")
        self._rest, self._intake, self._exclusive, self._sleep = rest, intake, exclusive, sleep
        self._book, self._listening_since = intake.gaps, listening_since
        self._work: asyncio.Queue[Gap | StreamLedger] = asyncio.Queue()
        self._queued: set[str] = set()  # names of the ledgers whose end is to be compared
        self._failures: Counter[str] = Counter()
        self._delayed: set[asyncio.Task[None]] = set()
        self._warned: set[str] = set()
        self.pending = 0
        # Code by (stream, symbol) of the streams that REST refuses to compare.
        self.refused: dict[tuple[str, str], int] = {}
        # Events fed from REST by ledger name. All other events of a ledger came by the WebSocket.
        self.fed: Counter[str] = Counter()
        self.checks: Counter[str] = Counter()  # comparisons of an end that REST answered, by ledger name

    def add(self, item: Gap | StreamLedger) -> None:
        """Queue a gap, or a stream whose end is to be compared with the exchange's."""
        if isinstance(item, StreamLedger):
            if item.name in self._queued:
                return
            self._queued.add(item.name)
        self.pending += 1
        self._work.put_nowait(item)

    async def run(self) -> None:
        """Fill gaps until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(WORKERS):
                    group.create_task(self._worker())
        finally:
            for task in self._delayed:
                task.cancel()

    async def _worker(self) -> None:
        while True:
            item = await self._work.get()
            if isinstance(item, StreamLedger):
                self._queued.discard(item.name)
            try:
                await (self.fill(item) if isinstance(item, Gap) else self.check_tail(item))
                self._failures.pop(item.name, None)
            except ExchangeUnavailable:  # the client has logged it
                self._failures[item.name] += 1
                self._add_later(item, jittered(2 + self._failures[item.name]))
            finally:
                self.pending -= 1

    def _add_later(self, item: Gap | StreamLedger, seconds: float) -> None:
        """Queue an item again after a delay; its worker takes other items meanwhile."""

        async def wait() -> None:
            await self._sleep(seconds)
            self.pending -= 1
            self.add(item)

        self.pending += 1
        task = asyncio.create_task(wait())
        self._delayed.add(task)
        task.add_done_callback(self._delayed.discard)

    async def fill(self, gap: Gap) -> None:
        """Fetch the ids of one gap until it is closed, or put off when REST serves none of them.

        Raises:
            ExchangeUnavailable: REST does not answer; the gap stays open.
        """
        ledger, empty = self._intake.ledger(gap.symbol, gap.stream), 0
        while gap.state == "open":
            missing = ledger.missing(gap.first_id, gap.last_id)
            if not missing:
                self._book.close_if_complete(gap, ledger, self._intake.now_us())
                return
            await self._fill_page(gap, ledger, missing[0])
            if gap.state == "open" and ledger.missing(gap.first_id, gap.last_id) == missing:
                empty += 1
                if empty >= EMPTY_ATTEMPTS:  # other gaps must not wait for this one
                    self._warn_once(gap)
                    self._add_later(gap, RETRY_S)
                    return
                await self._sleep(jittered(empty))

    def _warn_once(self, gap: Gap) -> None:
        if gap.name not in self._warned:
            self._warned.add(gap.name)
            log.warning("REST does not serve a gap yet", gap=gap.name, asked_again_every_s=RETRY_S)

    async def _fill_page(self, gap: Gap, ledger: StreamLedger, hole: tuple[int, int]) -> None:
        """Take the first ids of a hole; mark as unfillable what REST does not serve."""
        low, high = hole
        # One page covers PAGE ids. Where ids skip, it covers the small gaps after this one too.
        ends = [min(covered.last_id, low + PAGE - 1) for covered in self._book.within(ledger, low, low + PAGE - 1)]
        page = await fetch_page(self._rest, gap.stream, gap.symbol, low, max(high, *ends, low))
        await self._feed(gap, page.rows)
        for first, last, reason in page.unserved:
            for part in ledger.missing(first, last):  # live frames may have brought some meanwhile
                for owner in self._book.within(ledger, *part):
                    self._mark_unfillable(owner, max(part[0], owner.first_id), min(part[1], owner.last_id), reason)

    def _mark_unfillable(self, gap: Gap, low: int, high: int, reason: str) -> None:
        if gap.state == "open":
            self._book.mark_unfillable(gap, low, high, now_us=self._intake.now_us(), reason=reason)
            log.warning("ids cannot be filled", gap=gap.name, first_id=low, last_id=high, reason=reason)
            self._queue_new_gaps()

    def _queue_new_gaps(self) -> None:
        for gap in self._book.take_new():
            self.add(gap)

    async def check_tail(self, ledger: StreamLedger) -> None:
        """Fetch the trades after the last id of a stream.

        Stop when REST has no more, or when a live frame opened a gap.

        A stream without any event begins at its first trade since it was subscribed.

        Raises:
            ExchangeUnavailable: REST does not answer.
        """
        try:
            if self._last_id(ledger) is None:
                await self.begin(ledger, await self._first_rows(ledger), "never began")
            await self._fetch_after_last(ledger)
        except ExchangeRefused as error:
            self.note_refusal(ledger, error)
            await self._jump_to_newest(ledger, error)
        else:
            self.note_answer(ledger)
            self.checks[ledger.name] += 1

    async def _first_rows(self, ledger: StreamLedger) -> list[Row]:
        since_ms = self._listening_since(ledger)
        if since_ms is None or ledger.stream != "aggTrade":
            return await self._rest.trades(ledger.stream, ledger.symbol, None, 1)
        return await self._rest.first_since(ledger.symbol, since_ms * 1000)

    async def begin(self, ledger: StreamLedger, rows: list[Row], reason: str) -> None:
        """Start a stream at the first of `rows`.

        Ids between it and the frames already taken are a gap.
        """
        origin = rest_origin(ledger.stream, ledger.symbol)

        def feed_and_open_gaps() -> None:
            self._feed_now(ledger, rows, origin)
            ledger.begin_at_first()
            holes = self._book.unrecorded_holes(ledger)
            self._book.open(ledger, holes, now_us=self._intake.now_us(), reason=reason, source="REST")

        if rows:
            await self._exclusive(feed_and_open_gaps)
            self._queue_new_gaps()

    async def _fetch_after_last(self, ledger: StreamLedger) -> None:
        while (last := self._last_id(ledger)) is not None:
            rows = await self._rest.trades(ledger.stream, ledger.symbol, last + 1)
            newer = [row for row in rows if row[0] > last]
            # Live frames may have come meanwhile. Their trades are not sent again, and the ids that
            # they skipped are a gap already.
            known = self._last_id(ledger) or last
            if known > last and ledger.missing(last + 1, known):
                return
            await self._feed(ledger, [row for row in newer if row[0] > known])
            if len(rows) < PAGE or not newer:
                return

    async def _jump_to_newest(self, ledger: StreamLedger, error: ExchangeRefused) -> None:
        """Take the newest trade when REST refuses the one after our last.

        The ids between them become a gap.
        """
        last = self._last_id(ledger)
        if error.is_of_symbol or last is None:
            return
        try:
            rows = await self._rest.trades(ledger.stream, ledger.symbol, None, 1)
        except ExchangeRefused:
            return
        await self._feed(ledger, [row for row in rows if row[0] > last])
        self._queue_new_gaps()

    def note_refusal(self, ledger: StreamLedger, error: ExchangeRefused) -> None:
        """Record that REST refuses to compare a stream, and log it once."""
        if self.refused.get((ledger.stream, ledger.symbol)) != error.code:
            self.refused[ledger.stream, ledger.symbol] = error.code
            log.warning("REST refuses to compare the end of a stream", stream=ledger.name, error=str(error))

    def note_answer(self, ledger: StreamLedger) -> None:
        """Forget a refusal: REST answers for this stream."""
        self.refused.pop((ledger.stream, ledger.symbol), None)

    @staticmethod
    def _last_id(ledger: StreamLedger) -> int | None:
        ledger.flush_run()
        return ledger.own.last

    async def _feed(self, of: Gap | StreamLedger, rows: list[Row]) -> None:
        ledger, origin = self._intake.ledger(of.symbol, of.stream), rest_origin(of.stream, of.symbol)
        await self._exclusive(lambda: self._feed_now(ledger, rows, origin))

    def _feed_now(self, ledger: StreamLedger, rows: list[Row], origin: Origin) -> None:
        """Feed the rows whose ids are still missing.

        The others came by live frames meanwhile, and would count as duplicates of the exchange.
        """
        if not rows:
            return
        wanted = IntervalSet(ledger.missing(rows[0][0], rows[-1][0]))
        batch: list[Line] = [(raw, None, number) for number, raw in rows if number in wanted]
        before = received(ledger)
        self._intake.feed(batch, origin)
        self.fed[ledger.name] += received(ledger) - before


def received(ledger: StreamLedger) -> int:
    """Return how many events a ledger has received, including those not flushed yet."""
    return ledger.counts["received"] + ledger.run_count + ledger.sampled_out_count
