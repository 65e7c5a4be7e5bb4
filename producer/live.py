"""The live producer: takes the streams of the exchange into Kafka, and fills their gaps from REST.

Delivery guarantees: each id that the exchange sends, or still serves, is in `crypto.trades` or
`dlq.producer` once, or in an open gap. This holds after reconnects, blocks, kills and restarts,
because the next start reads from the log what was sent. It holds for streams that fall silent on an
open connection, because their last trade is compared with REST's (`recovery/silent_streams.py`).
An error of the exchange for one symbol or request does not stop the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

import msgspec
import structlog

from common.errors import ExchangeUnavailable
from common.symbols import in_stream_name
from producer.events import TRADE_STREAMS, Line
from producer.exchange.contract_sizes import ContractSizeCheck
from producer.exchange.frame_queue import FrameQueue
from producer.exchange.rest import RestClient, jittered
from producer.exchange.rest_responses import ExchangeRefused
from producer.exchange.routes import StreamAddresses
from producer.exchange.subscriptions import Shards
from producer.ledger.gaps import has_dense_ids
from producer.ledger.stream_ledger import UNKNOWN, StreamLedger
from producer.parsing.frames import identify, parse_frame
from producer.recovery.gap_filling import GapFiller
from producer.recovery.rejected_ids import RejectedIdRetry
from producer.recovery.silent_streams import EVERY_S, SilentStreamWatch
from producer.replay import ARCHIVE
from producer.writer.intake import Intake, Origin
from producer.writer.open_writer import Writer
from producer.writer.outbox import HIGH_WATER

log = structlog.get_logger(__name__)

CHUNK: Final = 500  # frames encoded before the connections are read again: about 6 ms
SNAPSHOT_EVERY_S: Final = 5.0
SYMBOLS_EVERY_S: Final = 15.0  # exchangeInfo weighs 20, so 80 of 6,000 per minute
POLL_EVERY_S: Final = 1.0
# Files from different years leave gaps of 10^9 ids, which would use REST's limit for days: the gaps
# of the live stream come first.
MOST_ARCHIVE_IDS: Final = 1_000_000
CLOCK_WAIT_S: Final = 5.0  # for the exchange's clock; then the streams are subscribed without it


class LiveOptions(msgspec.Struct, frozen=True):
    """Which streams and symbols to take, and how.

    Without `symbols`, the producer takes every symbol that trades (of the quote asset `quote`), and
    regularly checks for new ones. With `is_rest_only`, it opens no WebSocket: trades are polled.
    """

    streams: tuple[str, ...]
    ws_url: str
    symbols: tuple[str, ...] = ()
    symbols_every_s: float = SYMBOLS_EVERY_S
    snapshot_every_s: float = SNAPSHOT_EVERY_S
    ws_routes: str = ""
    compare_every_s: float = EVERY_S
    limits: dict[str, float] = {}
    quote: str = ""
    is_rest_only: bool = False


class Live:
    """One running live producer.

    Args:
        writer: Sends the events.
        rest: The exchange's REST API.
        options: Which streams to take, and how often to check them.
    """

    def __init__(self, writer: Writer, rest: RestClient, options: LiveOptions) -> None:
        self.writer, self.rest, self.options = writer, rest, options
        self.intake: Intake = writer.intake
        self.frame_queue = FrameQueue()
        self.symbols: list[str] = []
        self.polls = 0
        self.contracts = ContractSizeCheck(rest, self.intake.market)
        self._lock = asyncio.Lock()
        self._listening_since: dict[str, int] = {}  # exchange's clock in ms, by stream name
        self._background: set[asyncio.Task[None]] = set()
        self._known_at_start: set[str] = set()  # names of trade streams with events of earlier runs
        self.filler = GapFiller(rest, self.intake, self._exclusive, rest.sleep, self._listening_since_ms)
        self.rejected_id_retry = RejectedIdRetry(rest, self.intake, self._exclusive, rest.sleep)
        self.shards = Shards(
            StreamAddresses(options.ws_url, self.intake.market, options.ws_routes),
            self.frame_queue,
            clock=self.intake.now_us,
            on_connected=self._on_connected,
            limits=options.limits,
        )
        self.silence = SilentStreamWatch(
            rest,
            self.filler,
            ledgers=self._subscribed,
            listening_since=self._listening_since_ms,
            renew=self.shards.renew,
            is_paused=self.is_polling,
            every_s=options.compare_every_s,
        )
        self._origin = Origin("WEBSOCKET", parse_frame, identify, lambda _: f"{options.ws_url}/stream")

    async def run(self, stop: asyncio.Event) -> None:
        """Take events until `stop` is set, then flush and save the last snapshots.

        Raises:
            StoreUnavailable: Kafka failed; the next start finds what was not acknowledged and
                fetches it.
            ConfigurationError: The contract size of every given symbol differs from the one that
                the stores use.
        """
        stopped = asyncio.create_task(stop.wait())
        if not await self._start_symbols(stopped):
            await asyncio.get_running_loop().run_in_executor(None, self.writer.close)
            return
        # Includes streams of earlier runs: their tails are read, their ledgers closed at the end.
        wanted = [(stream, symbol) for symbol in self.symbols for stream in self.options.streams]
        self.intake.preload([*self.writer.store.known(), *wanted])
        self._known_at_start = {_stream_name(ledger) for ledger in self._trade_ledgers() if has_begun(ledger)}
        self._open_unrecorded_gaps()
        await self._record_listening_since(self._stream_names(self.symbols))
        parts = [self._feed_frames(), self._save_ledgers(), self._poll_trades(), self._watch_symbols()]
        parts += [self.filler.run(), self.rejected_id_retry.run(), self.silence.run()]
        if not self.options.is_rest_only:
            parts.append(self.shards.run(self._stream_names(self.symbols)))
        tasks = [asyncio.create_task(part) for part in parts]
        try:
            await asyncio.wait([*tasks, stopped], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (*tasks, *self._background, stopped):
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        _raise_first(results)
        self.intake.feed(self.frame_queue.drain(), self._origin)
        await asyncio.get_running_loop().run_in_executor(None, self.writer.close)

    def is_polling(self) -> bool:
        """Return whether trades come by REST alone: by request, or as the WebSocket is refused."""
        return self.options.is_rest_only or self.shards.is_blocked()

    def _stream_names(self, symbols: list[str]) -> list[str]:
        return [f"{in_stream_name(symbol)}@{stream}" for symbol in symbols for stream in self.options.streams]

    async def _fetch_trading_symbols(self) -> list[str]:
        info = await self.rest.exchange_info()
        self.contracts.report(info.wrong_sizes())
        return info.trading(self.options.quote)

    async def _start_symbols(self, stopped: asyncio.Task[bool]) -> bool:
        """Find the symbols to start with; return false when a stop came first.

        Without exchangeInfo, these are the symbols in the ledger. When there are none, wait for
        exchangeInfo.
        """
        named = self.options.symbols
        self.symbols, attempt = await self.contracts.with_matching_size(named) if named else [], 0
        while not self.symbols and not stopped.done():
            search = asyncio.create_task(self._trading_or_ledger_symbols())
            await asyncio.wait({search, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not search.done():
                search.cancel()
                await asyncio.wait({search})
                break
            self.symbols, attempt = search.result(), attempt + 1
            if not self.symbols:
                await asyncio.wait({stopped}, timeout=jittered(attempt))
        return bool(self.symbols)

    async def _trading_or_ledger_symbols(self) -> list[str]:
        try:
            return await self._fetch_trading_symbols()
        except (ExchangeUnavailable, ExchangeRefused):  # the client has logged it
            wanted, quote = set(self.options.streams), self.options.quote
            known = sorted({name for stream, name in self.writer.store.known() if stream in wanted and quote in name})
            if known:
                log.warning("no list of symbols yet: starting with those in the ledger", symbols=len(known))
            return known

    def _open_unrecorded_gaps(self) -> None:
        gaps, now_us = self.writer.gaps, self.intake.now_us()
        for ledger in self._trade_ledgers():
            gaps.open(ledger, gaps.unrecorded_holes(ledger), now_us=now_us, reason="found at start", source="WEBSOCKET")
        self._queue_new_gaps()

    def _trade_ledgers(self) -> list[StreamLedger]:
        wanted = set(self.options.streams)
        return [
            ledger
            for ledger in self.intake.ledgers.values()
            if ledger.stream in wanted and ledger.stream in TRADE_STREAMS and ledger.symbol != UNKNOWN
        ]

    def _queue_new_gaps(self) -> None:
        wanted = set(self.options.streams)
        for gap in self.writer.gaps.take_new():
            if gap.stream not in wanted:
                continue
            if gap.source == ARCHIVE and gap.size > MOST_ARCHIVE_IDS:
                log.warning("a gap between files is left to `tickhouse backfill`", gap=gap.name, ids=gap.size)
                continue
            self.filler.add(gap)

    def _subscribed(self) -> list[StreamLedger]:
        symbols = set(self.symbols)
        return [ledger for ledger in self._trade_ledgers() if ledger.symbol in symbols]

    def _listening_since_ms(self, ledger: StreamLedger) -> int | None:
        return self._listening_since.get(_stream_name(ledger))

    def _on_connected(self, names: list[str], is_first: bool) -> None:
        """Compare the end of each stream with the exchange's, after it was disconnected.

        A stream that began with the first connection of this run missed nothing.
        """
        wanted = self._known_at_start & set(names) if is_first else set(names)
        for ledger in self._trade_ledgers():
            if _stream_name(ledger) in wanted and has_begun(ledger) and has_dense_ids(ledger.market, ledger.stream):
                self.filler.add(ledger)

    async def _record_listening_since(self, names: list[str]) -> None:
        """Record the exchange's clock before streams are subscribed.

        A stream without any frame begins there.
        """
        task = asyncio.create_task(self._request_time(names))
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        await asyncio.wait({task}, timeout=CLOCK_WAIT_S)

    async def _request_time(self, names: list[str]) -> None:
        try:
            now_ms = await self.rest.server_time_ms()
        except (ExchangeUnavailable, ExchangeRefused):
            return  # a stream without frames then begins at REST's newest trade when first compared
        self._listening_since |= dict.fromkeys(names, now_ms)

    async def _exclusive(self, work: Callable[[], None]) -> None:
        async with self._lock:
            work()

    async def _feed_frames(self) -> None:
        while True:
            batch = await self.frame_queue.take()
            for start in range(0, len(batch), CHUNK):
                await self._feed_chunk(batch[start : start + CHUNK])

    async def _feed_chunk(self, lines: list[Line]) -> None:
        async with self._lock:
            self.intake.feed(lines, self._origin)
        if self.writer.gaps.new_gaps:
            self._queue_new_gaps()
        while self.writer.outbox.queued() > HIGH_WATER:
            await asyncio.sleep(0.01)
            self.writer.outbox.poll()
        await asyncio.sleep(0)

    async def _save_ledgers(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self.options.snapshot_every_s)
            async with self._lock:  # no event is sent between the flush and the snapshots
                await loop.run_in_executor(None, self.writer.save)

    async def _watch_symbols(self) -> None:
        if self.options.symbols:
            await self._check_symbols()
            await asyncio.Event().wait()  # a given list does not change; this task must not end
        while True:
            await asyncio.sleep(self.options.symbols_every_s)
            try:
                new = [symbol for symbol in await self._fetch_trading_symbols() if symbol not in self.symbols]
            except (ExchangeUnavailable, ExchangeRefused):
                continue  # keep the list; the client has logged it
            if new:
                log.info("new symbols", symbols=new)
                self.symbols += new
                async with self._lock:
                    self.intake.preload([(stream, symbol) for symbol in new for stream in self.options.streams])
                await self._record_listening_since(self._stream_names(new))
                if not self.options.is_rest_only:
                    await self.shards.add(self._stream_names(new))
                await self._begin_new_symbols(set(new))

    async def _check_symbols(self) -> None:
        """Read the request limit of the exchange, and warn of given symbols that do not trade."""
        while True:
            try:
                trading = set(await self._fetch_trading_symbols())
            except ExchangeUnavailable:
                continue  # the client retries with backoff
            except ExchangeRefused:
                return
            if unknown := [symbol for symbol in self.options.symbols if symbol not in trading]:
                log.warning("symbols that do not trade on this market now", symbols=unknown, market=self.intake.market)
            return

    async def _begin_new_symbols(self, symbols: set[str]) -> None:
        """Take newly listed symbols from their first trade on.

        This runs after their subscription, so that no trade is missed: the trades before it are a
        gap, which REST fills.
        """
        for ledger in [ledger for ledger in self._trade_ledgers() if ledger.symbol in symbols]:
            try:
                await self.filler.begin(ledger, await self.rest.trades(ledger.stream, ledger.symbol, 0, 1), "listed")
            except (ExchangeUnavailable, ExchangeRefused) as error:
                log.warning("a newly listed stream begins at its first frame", symbol=ledger.symbol, error=str(error))

    async def _poll_trades(self) -> None:
        """Take trades from REST when there is no WebSocket; there are no tickers meanwhile."""
        while True:
            await asyncio.sleep(POLL_EVERY_S)
            if not self.is_polling():
                continue
            for ledger in self._subscribed():
                try:
                    self.polls += 1
                    await self.filler.check_tail(ledger)
                except ExchangeUnavailable:
                    pass  # the client has logged it; the others are polled anyway
                if not self.is_polling():
                    break


def has_begun(ledger: StreamLedger) -> bool:
    """Return whether this writer has sent any event of a stream."""
    return ledger.own.last is not None or ledger.run_count > 0


def _stream_name(ledger: StreamLedger) -> str:
    return f"{in_stream_name(ledger.symbol)}@{ledger.stream}"


def _raise_first(results: Iterable[object]) -> None:
    """Raise the first failure of the tasks, also from inside a group; ignore cancellations."""
    for result in results:
        if isinstance(result, BaseExceptionGroup):
            _raise_first(result.exceptions)
        elif isinstance(result, Exception):
            raise result
