"""The live producer: sockets and REST on one side, the intake in the middle, Kafka and its ledger on the other.

Delivery guarantees: each id the exchange sends, or still serves, is in `crypto.trades` or `dlq.producer` once, or in an
open gap. It holds over reconnects, blocks, kills and restarts, because what was sent is read back from the log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

import msgspec
import structlog

from producer.events import TRADE_STREAMS
from producer.fill import Filler, rest_origin
from producer.frames import identify, parse_frame
from producer.inbox import Inbox
from producer.intake import UNKNOWN, Intake, Line, Origin
from producer.ledger import StreamLedger, has_dense_ids
from producer.outbox import HIGH_WATER
from producer.rest import ExchangeRefused, RestClient
from producer.runtime import Writer
from producer.shards import Shards
from tickhouse.errors import ExchangeUnavailable

log = structlog.get_logger(__name__)

CHUNK: Final = 500  # frames encoded before the sockets get a turn: about 6 ms
SNAPSHOT_EVERY_S: Final = 5.0
SYMBOLS_EVERY_S: Final = 15.0  # exchangeInfo weighs 20: 80 of 6,000 a minute, for a listing taken within seconds
POLL_EVERY_S: Final = 1.0


class LiveOptions(msgspec.Struct, frozen=True):
    """What to take; `symbols` empty stands for every symbol that trades, looked up again and again."""

    streams: tuple[str, ...]
    ws_url: str
    symbols: tuple[str, ...] = ()
    symbols_every_s: float = SYMBOLS_EVERY_S
    snapshot_every_s: float = SNAPSHOT_EVERY_S
    limits: dict[str, float] = {}


class Live:
    """One running live producer.

    Args:
        writer: Where events go.
        rest: The exchange's REST API.
        options: What to take.
    """

    def __init__(self, writer: Writer, rest: RestClient, options: LiveOptions) -> None:
        self.writer, self.rest, self.options = writer, rest, options
        self.intake: Intake = writer.intake
        self.inbox = Inbox()
        self.symbols: list[str] = []
        self.polls = 0
        self._gate = asyncio.Lock()
        self.filler = Filler(rest, self.intake, self._exclusive)
        self.shards = Shards(
            options.ws_url,
            self.inbox,
            clock=self.intake.now_us,
            on_connected=self._on_connected,
            limits=options.limits,
        )
        self._origin = Origin("WEBSOCKET", parse_frame, identify, lambda _: f"{options.ws_url}/stream")

    async def run(self, stop: asyncio.Event) -> None:
        """Take events until `stop` is set, then flush and write the last snapshots.

        Raises:
            StoreUnavailable: Kafka failed; what was not acknowledged is found missing by the next start.
            ExchangeUnavailable: There is no symbol list to start with.
        """
        self.symbols = list(self.options.symbols) or await self._trading()
        # Also what an earlier run took and this one does not: its tail is folded in and its ledger closed at the end.
        wanted = [(s, symbol) for symbol in self.symbols for s in self.options.streams]
        self.intake.preload([*self.writer.store.known(), *wanted])
        self._open_forgotten_gaps()
        parts = [self._pump(), self._snapshots(), self.filler.run(), self._poll(), self._follow_symbols()]
        parts.append(self.shards.run(self._stream_names(self.symbols)))
        tasks = [asyncio.create_task(part) for part in parts]
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([*tasks, stopped], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (*tasks, stopped):
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        _raise_first(results)
        self.intake.feed(self.inbox.drain(), self._origin)
        await asyncio.get_running_loop().run_in_executor(None, self.writer.close)

    def _stream_names(self, symbols: list[str]) -> list[str]:
        return [f"{symbol.lower()}@{stream}" for symbol in symbols for stream in self.options.streams]

    async def _trading(self) -> list[str]:
        return (await self.rest.exchange_info()).trading()

    def _open_forgotten_gaps(self) -> None:
        gaps, now_us = self.writer.gaps, self.intake.now_us()
        for ledger in self._trade_ledgers():
            gaps.open(ledger, gaps.forgotten(ledger), now_us=now_us, reason="found at start", source="WEBSOCKET")
        self._hand_over_gaps()

    def _trade_ledgers(self) -> list[StreamLedger]:
        wanted = set(self.options.streams)
        return [
            ledger
            for ledger in self.intake.ledgers.values()
            if ledger.stream in wanted and ledger.stream in TRADE_STREAMS and ledger.symbol != UNKNOWN
        ]

    def _hand_over_gaps(self) -> None:
        wanted = set(self.options.streams)
        for gap in self.writer.gaps.take_fresh():
            if gap.stream in wanted:
                self.filler.add(gap)

    def _on_connected(self, names: list[str]) -> None:
        """Compare the end of each stream with the exchange's: what was sent while nobody listened is not sent again."""
        wanted = set(names)
        for ledger in self._trade_ledgers():
            if f"{ledger.symbol.lower()}@{ledger.stream}" in wanted and has_dense_ids(ledger.market, ledger.stream):
                self.filler.add(ledger)

    async def _exclusive(self, work: Callable[[], None]) -> None:
        async with self._gate:
            work()

    async def _pump(self) -> None:
        while True:
            batch = await self.inbox.take()
            for start in range(0, len(batch), CHUNK):
                await self._encode(batch[start : start + CHUNK])

    async def _encode(self, lines: list[Line]) -> None:
        async with self._gate:
            self.intake.feed(lines, self._origin)
        if self.writer.gaps.fresh:
            self._hand_over_gaps()
        while self.writer.outbox.queued() > HIGH_WATER:
            await asyncio.sleep(0.01)
            self.writer.outbox.poll()
        await asyncio.sleep(0)

    async def _snapshots(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self.options.snapshot_every_s)
            async with self._gate:  # nothing is sent between the flush and the snapshots that it makes true
                await loop.run_in_executor(None, self.writer.save)

    async def _follow_symbols(self) -> None:
        if self.options.symbols:
            await asyncio.Event().wait()  # the list was given: nothing to follow, and no reason to end
        while True:
            await asyncio.sleep(self.options.symbols_every_s)
            try:
                fresh = [symbol for symbol in await self._trading() if symbol not in self.symbols]
            except ExchangeUnavailable as error:
                log.warning("the list of symbols stays as it is", error=str(error))
                continue
            if fresh:
                log.info("new symbols", symbols=fresh)
                self.symbols += fresh
                async with self._gate:
                    self.intake.preload([(s, symbol) for symbol in fresh for s in self.options.streams])
                await self.shards.add(self._stream_names(fresh))
                await self._begin_listed(set(fresh))

    async def _begin_listed(self, symbols: set[str]) -> None:
        """Take streams that were listed while we ran from their first trade on.

        After the subscription, so that nothing falls between: what came before it is a gap for REST to fill.
        """
        for ledger in [one for one in self._trade_ledgers() if one.symbol in symbols]:
            try:
                rows = await self.rest.trades(ledger.stream, ledger.symbol, 0, 1)
            except (ExchangeUnavailable, ExchangeRefused) as error:
                log.warning("a listed stream begins where it was met", symbol=ledger.symbol, error=str(error))
                continue
            await self._exclusive(partial(self._feed_first, ledger, rows))
            self._hand_over_gaps()

    def _feed_first(self, ledger: StreamLedger, rows: list[msgspec.Raw]) -> None:
        self.intake.feed([(bytes(row), None, 0) for row in rows], rest_origin(ledger.stream, ledger.symbol))
        ledger.begin_at_first()
        gaps = self.writer.gaps
        gaps.open(ledger, gaps.forgotten(ledger), now_us=self.intake.now_us(), reason="listed", source="REST")

    async def _poll(self) -> None:
        """Take trades by REST while the WebSocket is blocked; tickers wait for its return."""
        while True:
            await asyncio.sleep(POLL_EVERY_S)
            if not self.shards.is_blocked():
                continue
            for ledger in self._trade_ledgers():
                try:
                    await self._poll_one(ledger)
                except ExchangeUnavailable as error:
                    log.warning("REST polling waits", error=str(error))
                if not self.shards.is_blocked():
                    break

    async def _poll_one(self, ledger: StreamLedger) -> None:
        self.polls += 1
        if ledger.own.last is not None or ledger.number:
            await self.filler.check_tail(ledger)
            return
        rows = await self.rest.trades(ledger.stream, ledger.symbol, None, 1)  # where a new stream begins
        lines: list[Line] = [(bytes(row), None, 0) for row in rows]
        await self._exclusive(lambda: self.intake.feed(lines, rest_origin(ledger.stream, ledger.symbol)))


def _raise_first(results: Iterable[object]) -> None:
    """Raise the first real failure of the cancelled parts; a task group wraps its own."""
    for result in results:
        if isinstance(result, BaseExceptionGroup):
            _raise_first(result.exceptions)
        elif isinstance(result, Exception):
            raise result
