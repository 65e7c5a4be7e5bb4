"""Frames to Kafka records: parse, judge by the ledger, encode, send. One pass, a batch at a time.

Nothing here waits, logs or touches a metric per event: counters are plain integers that the edges read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, cast

import msgspec

from producer.codec import Encoder, EncodeTrade
from producer.events import Tick, Trade, check_symbol, event_id
from producer.frames import Ignored, Parsed, Parser, identify, parse_frame
from producer.gaps import GapBook
from producer.ledger import RecentPayloads, StreamLedger, Verdict
from producer.outbox import TICKS, TRADES, Outbox
from producer.records import Identify
from tickhouse.errors import RejectedRecord

# What belongs to no stream (an ignored frame, an unreadable one) is counted under this symbol and stream.
UNKNOWN: Final = "*"

# (frame, received µs or None, position in its origin)
Line = tuple[bytes, "int | None", int]


class Origin(msgspec.Struct, frozen=True):
    """Where a batch comes from: how to parse it, and what its dead letters say."""

    source: str  # WEBSOCKET, REST or ARCHIVE
    parse: Parser
    identify: Identify
    position: Callable[[int], str]


class Intake:
    """The writer's core: owns the ledgers of one market.

    Args:
        encoder: Encodes for one market.
        outbox: Where records go.
        writer: Name of this writer in the ledger.
        gaps: Where gaps are opened and closed, or None to leave ids alone (files, which may be out of order).
        sample_us: One tick a symbol and stream every so many µs.
        clock: Returns the time in µs, for what carries none.
        prepare: Called with a ledger before the first record of its stream is sent: loads what Kafka knows of it and
            sends its first snapshot, without which a later start would not know where to look.
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
        # By source, (stream, symbol): one ledger, an encoder a source.
        self._sources: dict[str, dict[tuple[str, str], tuple[StreamLedger, EncodeTrade]]] = {}
        self._streams: dict[tuple[str, str], tuple[StreamLedger, EncodeTrade]] = {}
        self.rejects: dict[str, int] = {}
        self.known_letters: set[tuple[str, str]] = set()
        self.earlier = 0  # ids found to be sent by an earlier run
        self.sent = 0
        self.last_event_us = 0
        self._recent = RecentPayloads()
        self._origin = Origin("", parse_frame, identify, str)
        self._now_us = 0
        self._ignored = 0
        self._sample_us, self._clock, self._prepare, self._is_forced = sample_us, clock, prepare, is_forced

    def ledger(self, symbol: str, stream: str) -> StreamLedger:
        """Return the ledger of one stream, prepared when it is new."""
        found = self.ledgers.get((stream, symbol))
        if found is None:
            found = StreamLedger(self.market, symbol, stream, self.writer)
            self._prepare(found)
            self.outbox.flush()
            self.ledgers[stream, symbol] = found
        return found

    def preload(self, streams: Iterable[tuple[str, str]]) -> None:
        """Make the ledger of every (stream, symbol) at once: one flush for all their first snapshots."""
        for stream, symbol in streams:
            if (stream, symbol) not in self.ledgers:
                found = StreamLedger(self.market, symbol, stream, self.writer)
                self._prepare(found)
                self.ledgers[stream, symbol] = found
        self.outbox.flush()

    def _new_stream(self, trade: Trade) -> tuple[StreamLedger, EncodeTrade]:
        encode = self.encoder.trades(trade.symbol, trade.stream, self._origin.source)
        found = self._streams[trade.stream, trade.symbol] = self._new_ledger(trade), encode
        return found

    def _new_ledger(self, event: Trade | Tick) -> StreamLedger:
        check_symbol(event.symbol)
        return self.ledger(event.symbol, event.stream)

    def feed(self, lines: Iterable[Line], origin: Origin) -> None:
        """Take a batch of lines from one origin."""
        parse, self._origin, self._now_us = origin.parse, origin, self._clock()
        self._streams = self._sources.setdefault(origin.source, {})
        now_us = self._now_us
        for line in lines:
            raw, received_us, _ = line
            try:
                text = raw.decode()
                event = parse(text)
                if type(event) is Trade:
                    self._trade(event, raw, received_us or now_us, line)
                elif type(event) is Tick:
                    self._tick(event, text, received_us or now_us)
                elif isinstance(event, Ignored):
                    self._ignored += 1
                else:
                    self._array(event, line)
            except RejectedRecord as error:
                self.reject(line, error, origin)
            except UnicodeDecodeError as error:
                self.reject(line, RejectedRecord("not_utf8", str(error)), origin)
        self._settle_ignored()
        self._recent.turn()
        self.outbox.poll()

    def _settle_ignored(self) -> None:
        if self._ignored:
            self.ledger(UNKNOWN, UNKNOWN).count("ignored", self._ignored)
            self._ignored = 0

    def _array(self, event: object, line: Line) -> None:
        for text, item in cast("list[tuple[str, Parsed]]", event):
            if isinstance(item, Trade):
                self._trade(item, text.encode(), line[1] or self._now_us, line)
            elif isinstance(item, Tick):
                self._tick(item, text, line[1] or self._now_us)
            else:
                self._ignored += 1

    def _trade(self, trade: Trade, frame: bytes, received_us: int, line: Line) -> None:
        ledger, encode = self._streams.get((trade.stream, trade.symbol)) or self._new_stream(trade)
        number = trade.trade_id
        event_id = f"{ledger.prefix}{number}"
        if number == ledger.expected:  # in sequence: nothing else to ask
            ledger.expected = number + 1
            ledger.number += 1
        elif not self._admit(ledger, trade, event_id, line):
            return
        self._recent.newest[event_id] = trade
        value = encode(event_id, trade, received_us, frame)
        self.last_event_us = trade.event_us
        self.sent += 1
        try:
            self.outbox.produce(TRADES, value, ledger.key)
        except BufferError:
            self.outbox.send(TRADES, value, ledger.key)

    def _admit(self, ledger: StreamLedger, trade: Trade, event_id: str, line: Line) -> bool:
        """Say whether a trade out of sequence is to be sent, and remember it."""
        verdict = ledger.judge(trade.trade_id)
        if verdict is Verdict.NEW:
            self._take(ledger, trade.trade_id, "delivered")
            return True
        known = self._recent.get(event_id)
        if verdict is Verdict.DUPLICATE and known is not None and not known.same_payload(trade):
            error = RejectedRecord("conflict", f"Expected the payload already sent as {event_id}, was another one")
            ledger.count("conflicts")
            self._dead_letter(line, error, self._origin, event_id)
            return False
        if verdict is Verdict.EARLIER:
            ledger.take(trade.trade_id, "delivered")
            self.earlier += 1
        else:
            ledger.count("duplicates")
        self._recent.newest[event_id] = trade
        return self._is_forced

    def _take(self, ledger: StreamLedger, number: int, count: str) -> None:
        holes = ledger.take(number, count)
        if self.gaps is None:
            return
        if holes:
            self.gaps.open(ledger, holes, reason="missed", source=self._origin.source, now_us=self._clock())
        elif number != ledger.own.last:
            self.gaps.note(ledger, number, self._clock())

    def _tick(self, tick: Tick, text: str, received_us: int) -> None:
        ledger = self.ledgers.get((tick.stream, tick.symbol)) or self._new_ledger(tick)
        bucket = (tick.event_us or received_us) // self._sample_us
        if bucket + 1 == ledger.expected:  # the bucket of the one before: by far the most frequent case
            ledger.sampled_out += 1
            return
        verdict = ledger.judge(bucket)
        if verdict is Verdict.DUPLICATE:
            ledger.sampled_out += 1
            return
        value = self.encoder.tick(tick, received_us, self._origin.source, text)
        ledger.take(bucket, "delivered")
        if verdict is Verdict.EARLIER:
            self.earlier += 1
            if not self._is_forced:
                return
        self.sent += 1
        self.outbox.send(TICKS, value, ledger.key)

    def reject(self, line: Line, error: RejectedRecord, origin: Origin) -> None:
        """Send a frame to the dead letters and count its id, when it can be read, as seen."""
        stream_name, identity = origin.identify(line[0])
        if identity is None:
            self.ledger(UNKNOWN, UNKNOWN).count("rejected")
            self._dead_letter(line, error, origin, None, stream_name)
            return
        ledger = self.ledger(identity.symbol, identity.stream)
        if identity.exchange_id in ledger.rejected:
            ledger.count("duplicates")  # sent twice, or by REST after the WebSocket: one dead letter is enough
            return
        if ledger.is_tick or ledger.judge(identity.exchange_id) is Verdict.DUPLICATE:
            ledger.count("rejected")
        else:
            self._take(ledger, identity.exchange_id, "rejected")
        self._dead_letter(line, error, origin, event_id(self.market, identity), stream_name)

    def _dead_letter(
        self, line: Line, error: RejectedRecord, origin: Origin, key: str | None, stream_name: str | None = None
    ) -> None:
        raw, received_us, at = line
        position = origin.position(at)
        self.rejects[error.reason] = self.rejects.get(error.reason, 0) + 1
        if (position, error.reason) in self.known_letters:
            return  # an earlier run over the same file sent it
        headers = {
            "reason": error.reason,
            "detail": error.detail,
            "source": origin.source,
            "market": self.market,
            "stream_name": origin.identify(raw)[0] if stream_name is None else stream_name,
            "position": position,
            "received_at_us": str(received_us or self._clock()),
            "writer": self.writer,
        }
        self.outbox.send_dead_letter(raw, headers, key)

    def now_us(self) -> int:
        """Return the time in µs."""
        return self._clock()

    def totals(self) -> dict[str, int]:
        """Return the counts of all streams together."""
        sums: dict[str, int] = {}
        for ledger in self.ledgers.values():
            ledger.settle()
            for name, count in ledger.counts.items():
                sums[name] = sums.get(name, 0) + count
        return sums
