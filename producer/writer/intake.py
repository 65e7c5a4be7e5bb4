"""Turn frames into Kafka records: parse, look up the ledger, encode, send. Batch by batch.

Nothing here waits, logs or updates a metric per event: counters are plain integers, which the
metrics read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import cast

import msgspec

from common.errors import RejectedRecord
from common.intervals import IntervalSet
from common.market_kind import SIMULATED
from common.topics import TICKS, TRADES
from producer.encoding.events import Encoder, EncodeTrade
from producer.events import Line, Tick, Trade, check_symbol, event_id
from producer.ledger.delivered_values import DeliveredPayloads, describe_trade
from producer.ledger.gaps import GapBook
from producer.ledger.recent_payloads import RecentPayloads
from producer.ledger.stream_ledger import UNKNOWN, IdStatus, StreamLedger
from producer.parsing.frames import Ignored, Parsed, Parser
from producer.parsing.rest_and_csv import Identify
from producer.writer.outbox import MAX_RAW_BYTES, Outbox, check_size

# Ledger and encoder of one stream, by (stream, symbol).
_Streams = dict[tuple[str, str], tuple[StreamLedger, EncodeTrade]]


class Origin(msgspec.Struct, frozen=True):
    """Where lines come from: how to parse them, and how their dead letters name the origin."""

    source: str  # WEBSOCKET, REST or ARCHIVE; records of a synthetic market have SIMULATED instead
    parse: Parser
    identify: Identify
    position: Callable[[int], str]


class _Batch:
    """What the lines of one call of `Intake.feed` have in common."""

    __slots__ = ("ignored_count", "now_us", "origin", "streams")

    def __init__(self, origin: Origin, streams: _Streams, now_us: int) -> None:
        self.origin, self.streams, self.now_us = origin, streams, now_us
        self.ignored_count = 0


class _Conflict(msgspec.Struct, frozen=True):
    """The trade that was sent under an id before, and headers about it for the dead letter."""

    known: Trade
    headers: Mapping[str, str]


class Intake:
    """The core of a writer: it owns the ledgers of one market.

    Args:
        encoder: Encodes the events of one market.
        outbox: Sends the records.
        writer: Name of this writer in the ledger.
        gaps: Where gaps are opened and closed. None for files, whose ids may be out of order: their
            gaps are found at the end.
        sample_us: Length of the sampling interval in µs: one tick per symbol and stream in each.
        clock: Returns the time in µs, for lines without a receive time.
        prepare: Called with a ledger before the first record of its stream is sent. It loads what
            Kafka knows of the stream and sends the first snapshot, so that a later start knows
            where to read.
        is_forced: Send events again that were sent according to the ledger.
    """

    def __init__(
        self,
        encoder: Encoder,
        outbox: Outbox,
        writer: str,
        *,
        gaps: GapBook | None,
        sample_us: int,
        clock: Callable[[], int],
        prepare: Callable[[StreamLedger], None],
        is_forced: bool = False,
    ) -> None:
        self.market, self.writer = encoder.market, writer
        self.encoder, self.outbox, self.gaps = encoder, outbox, gaps
        self.ledgers: dict[tuple[str, str], StreamLedger] = {}
        # By source: the ledger of a stream is shared, but the encoded source differs.
        self._sources: dict[str, _Streams] = {}
        self.rejects: dict[str, int] = {}
        # (position, reason) of the dead letters that an earlier run over the same file sent.
        self.known_dead_letters: set[tuple[str, str]] = set()
        # Ids rejected lately that no writer has delivered, by (stream, symbol). They are requested
        # from REST once (`producer.recovery.rejected_ids`).
        self.rejected_ids: dict[tuple[str, str], IntervalSet] = {}
        # Compares a repeat with what earlier runs delivered; None for live streams, which do not
        # compare.
        self.delivered: DeliveredPayloads | None = None
        self.sent_earlier = 0  # ids that an earlier run over the same file sent
        self.sent = 0
        self.rejected_lines = 0  # of this run, also where an earlier run sent the dead letter
        self.last_event_us = 0
        self._recent = RecentPayloads()
        self.is_simulated = False  # set by producer/market_check.py, which asks the exchange
        self._sample_us, self._clock, self._prepare, self._is_forced = sample_us, clock, prepare, is_forced

    def ledger(self, symbol: str, stream: str) -> StreamLedger:
        """Return the ledger of one stream; a new one is prepared first."""
        ledger = self.ledgers.get((stream, symbol))
        if ledger is None:
            ledger = self._prepared_ledger(symbol, stream)
            self.outbox.flush()
            self.ledgers[stream, symbol] = ledger
        return ledger

    def preload(self, streams: Iterable[tuple[str, str]]) -> None:
        """Create the ledgers of many (stream, symbol) with one flush for all first snapshots."""
        for stream, symbol in streams:
            if (stream, symbol) not in self.ledgers:
                self.ledgers[stream, symbol] = self._prepared_ledger(symbol, stream)
        self.outbox.flush()

    def _prepared_ledger(self, symbol: str, stream: str) -> StreamLedger:
        ledger = StreamLedger(self.market, symbol, stream, self.writer)
        self._prepare(ledger)
        return ledger

    def feed(self, lines: Iterable[Line], origin: Origin) -> None:
        """Take a batch of lines from one origin.

        Raises:
            StoreUnavailable: Kafka did not accept a record.
        """
        batch = _Batch(origin, self._sources.setdefault(origin.source, {}), self._clock())
        parse = origin.parse
        for line in lines:
            try:
                text = line[0].decode()
                event = parse(text)
                if type(event) is Trade:
                    self._trade(event, line, batch)
                elif type(event) is Tick:
                    self._tick(event, text, line, batch)
                elif isinstance(event, Ignored):
                    batch.ignored_count += 1
                else:
                    self._array(event, line, batch)
            except RejectedRecord as error:
                self.reject(line, error, origin)
            except UnicodeDecodeError as error:
                self.reject(line, RejectedRecord("not_utf8", str(error)), origin)
        if batch.ignored_count:
            self.ledger(UNKNOWN, UNKNOWN).count("ignored", batch.ignored_count)
        self._recent.rotate()
        self.outbox.poll()

    def _array(self, event: object, line: Line, batch: _Batch) -> None:
        """Take each element of a frame that is an array as a line of its own."""
        for text, item in cast("list[tuple[str, Parsed]]", event):
            element = (text.encode(), line[1], line[2])
            try:
                if isinstance(item, Trade):
                    self._trade(item, element, batch)
                elif isinstance(item, Tick):
                    self._tick(item, text, element, batch)
                else:
                    batch.ignored_count += 1
            except RejectedRecord as error:
                self.reject(element, error, batch.origin)

    def _trade(self, trade: Trade, line: Line, batch: _Batch) -> None:
        frame, received_us, _ = line
        if len(frame) > MAX_RAW_BYTES:
            check_size(frame)
        stream = batch.streams.get((trade.stream, trade.symbol))
        if stream is None:
            stream = self._new_stream(trade, batch)
        ledger, encode = stream
        trade_id = trade.trade_id
        event_id = f"{ledger.prefix}{trade_id}"
        if trade_id == ledger.expected_id:  # in sequence: no further check is needed
            ledger.expected_id = trade_id + 1
            ledger.run_count += 1
        elif not self._is_to_send(ledger, trade, event_id, line, batch):
            return
        self._recent.newest[event_id] = trade
        value = encode(event_id, trade, received_us or batch.now_us, frame)
        self.last_event_us = trade.event_us
        self.sent += 1
        try:
            self.outbox.produce(TRADES, value, ledger.key)
        except BufferError:
            self.outbox.send(TRADES, value, ledger.key)

    def _new_stream(self, trade: Trade, batch: _Batch) -> tuple[StreamLedger, EncodeTrade]:
        check_symbol(trade.symbol)
        encode = self.encoder.trades(trade.symbol, trade.stream, self._source(batch.origin))
        stream = self.ledger(trade.symbol, trade.stream), encode
        batch.streams[trade.stream, trade.symbol] = stream
        return stream

    def _source(self, origin: Origin) -> str:
        return SIMULATED if self.is_simulated else origin.source

    def _is_to_send(self, ledger: StreamLedger, trade: Trade, event_id: str, line: Line, batch: _Batch) -> bool:
        """Record a trade that is out of sequence, and return whether it must be sent."""
        status = ledger.take_after_last(trade.trade_id)
        if status is IdStatus.NEW:
            return True
        if status is None:
            status = ledger.status_of(trade.trade_id)
        if status is IdStatus.NEW:
            self._take(ledger, trade.trade_id, "delivered", batch.origin)
            return True
        if status is IdStatus.SENT_EARLIER:
            ledger.take(trade.trade_id, "delivered")
            self.sent_earlier += 1
        else:
            conflict = self._conflict_with(ledger, trade, event_id)
            if conflict is not None:
                self._reject_conflict(ledger, trade, conflict, line, batch)
                return False
            ledger.count("duplicates")
        self._recent.newest[event_id] = trade
        return self._is_forced

    def _conflict_with(self, ledger: StreamLedger, trade: Trade, event_id: str) -> _Conflict | None:
        """Return what was sent under the id of a repeat, when its values differ.

        None when they are equal or unknown.
        """
        recent = self._recent.get(event_id)
        if recent is not None:
            return None if recent.same_payload(trade) else _Conflict(recent, {})
        if self.delivered is None:
            return None
        stored = self.delivered.find_conflict(ledger, trade)
        return None if stored is None else _Conflict(stored.trade, stored.headers())

    def _reject_conflict(
        self, ledger: StreamLedger, trade: Trade, conflict: _Conflict, line: Line, batch: _Batch
    ) -> None:
        event_id, known = f"{ledger.prefix}{trade.trade_id}", describe_trade(conflict.known)
        detail = f"Expected the payload already sent as {event_id}, {known}; was {describe_trade(trade)}"
        ledger.count("conflicts")
        error = RejectedRecord("conflict", detail)
        self._dead_letter(line, error, batch.origin, event_id, extra=conflict.headers)

    def _take(self, ledger: StreamLedger, trade_id: int, outcome: str, origin: Origin) -> None:
        """Record an id; open gaps for the ids it skipped, or close the gap that it fills."""
        holes = ledger.take(trade_id, outcome)
        if self.gaps is None:
            return
        if holes:
            self.gaps.open(ledger, holes, reason="missed", source=origin.source, now_us=self._clock())
        elif trade_id != ledger.own.last:
            self.gaps.close_gap_at(ledger, trade_id, self._clock())

    def _tick(self, tick: Tick, text: str, line: Line, batch: _Batch) -> None:
        if len(text) > MAX_RAW_BYTES // 4:  # a character has at most four bytes
            check_size(text.encode())
        received_us = line[1] or batch.now_us
        ledger = self.ledgers.get((tick.stream, tick.symbol))
        if ledger is None:
            check_symbol(tick.symbol)
            ledger = self.ledger(tick.symbol, tick.stream)
        bucket = (tick.event_us or received_us) // self._sample_us
        if bucket + 1 == ledger.expected_id:  # the bucket of the last tick: by far the most frequent case
            ledger.sampled_out_count += 1
            return
        status = ledger.status_of(bucket)
        if status is IdStatus.DUPLICATE:
            ledger.sampled_out_count += 1
            return
        value = self.encoder.tick(tick, received_us, self._source(batch.origin), text)
        ledger.take(bucket, "delivered")
        if status is IdStatus.SENT_EARLIER:
            self.sent_earlier += 1
            if not self._is_forced:
                return
        self.sent += 1
        self.outbox.send(TICKS, value, ledger.key)

    def reject(self, line: Line, error: RejectedRecord, origin: Origin) -> None:
        """Send a line to the dead letters; where its id can be read, record the id as rejected."""
        self.rejected_lines += 1
        stream_name, identity = origin.identify(line[0])
        if identity is None:
            self.ledger(UNKNOWN, UNKNOWN).count("rejected")
            self._dead_letter(line, error, origin, None, stream_name=stream_name)
            return
        ledger = self.ledger(identity.symbol, identity.stream)
        if ledger.is_tick:
            ledger.count("rejected")
        elif not self._record_rejected(ledger, identity.exchange_id, origin):
            return
        self._dead_letter(line, error, origin, event_id(self.market, identity), stream_name=stream_name)

    def _record_rejected(self, ledger: StreamLedger, trade_id: int, origin: Origin) -> bool:
        """Count a rejected id, and return whether to send a dead letter: one per writer and id."""
        is_in_pass, is_in_dlq = trade_id in ledger.pass_dead_letters, trade_id in ledger.dead_letters
        ledger.note_dead_letter(trade_id)
        if is_in_pass or (is_in_dlq and ledger.pass_seen is None):
            ledger.count("duplicates")  # sent twice, or by REST after the WebSocket
            return False
        if ledger.is_known(trade_id):
            ledger.count("rejected")
        else:
            self._take(ledger, trade_id, "rejected", origin)
            if self.gaps is not None:
                self.rejected_ids.setdefault((ledger.stream, ledger.symbol), IntervalSet()).add(trade_id)
        return not is_in_dlq

    def _dead_letter(
        self,
        line: Line,
        error: RejectedRecord,
        origin: Origin,
        key: str | None,
        *,
        stream_name: str | None = None,
        extra: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        raw, received_us, at = line
        position = origin.position(at)
        self.rejects[error.reason] = self.rejects.get(error.reason, 0) + 1
        if (position, error.reason) in self.known_dead_letters:
            return
        headers = {
            "reason": error.reason,
            "detail": error.detail,
            "source": self._source(origin),
            "market": self.market,
            "stream_name": origin.identify(raw)[0] if stream_name is None else stream_name,
            "position": position,
            "received_at_us": str(received_us or self._clock()),
            "writer": self.writer,
            **extra,
        }
        self.outbox.send_dead_letter(raw, headers, key)

    def now_us(self) -> int:
        """Return the time in µs by the clock of this writer."""
        return self._clock()

    def totals(self) -> dict[str, int]:
        """Return the sum of each count over all streams."""
        sums: dict[str, int] = {}
        for ledger in self.ledgers.values():
            ledger.flush_run()
            for name, count in ledger.counts.items():
                sums[name] = sums.get(name, 0) + count
        return sums
