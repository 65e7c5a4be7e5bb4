"""The ledger of a writer in Kafka.

It is loaded at the start together with the tail of the log, and saved after each flush.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import msgspec
import structlog
from confluent_kafka import Message

from common.clients.kafka import TopicLog
from common.errors import RejectedRecord
from common.intervals import IntervalSet
from common.topics import GAPS, LEDGER, PRODUCER_DEAD_LETTERS, TICKS, TRADES
from producer.encoding.events import decode, event_id_of
from producer.events import TICK_STREAMS, Identity, Trade, split_event_id
from producer.ledger.delivered_values import DeliveredPayloads, Span
from producer.ledger.gaps import GapBook
from producer.ledger.snapshots import Snapshot, part_key, snapshots, undelivered_of
from producer.ledger.stream_ledger import UNKNOWN, StreamLedger
from producer.writer.outbox import Outbox

log = structlog.get_logger(__name__)

LIVE: Final = "live"
BACKFILL: Final = "backfill"
FILE: Final = "file:"
# A stream without news gets a snapshot this often too: the tail that the next start must read
# begins at the oldest snapshot.
REFRESH_US: Final = 60_000_000
# Clocks differ: the log time of a live trade may be this much before its trade time.
CLOCK_SLACK_US: Final = 60_000_000


def file_writer(sha256: str) -> str:
    """Return the writer name of a replayed file."""
    return f"{FILE}{sha256[:12]}"


class _Tail(msgspec.Struct):
    """Ids of one stream that are in the log after the snapshots.

    `own` and `others` are in `crypto.trades`, `rejected` (by writer) in the dead letters.
    `dead_letters` are all those of this writer, whether a snapshot holds them or not.
    """

    own: set[int] = msgspec.field(default_factory=set)
    others: set[int] = msgspec.field(default_factory=set)
    rejected: dict[str, set[int]] = msgspec.field(default_factory=dict)
    dead_letters: set[int] = msgspec.field(default_factory=set)


class LedgerStore:
    """Loads and saves the ledgers of one writer and market.

    Args:
        log_reader: Reads the topics.
        outbox: Writes them.
        market: Market of every ledger here.
        writer: This writer's name.
        sample_us: Length of a tick bucket, to find the bucket of a tick in the log.
        clock: Returns the time in µs.
    """

    def __init__(
        self,
        log_reader: TopicLog,
        outbox: Outbox,
        *,
        market: str,
        writer: str,
        sample_us: int,
        clock: Callable[[], int],
    ) -> None:
        self._log, self._outbox, self._clock = log_reader, outbox, clock
        self.market, self.writer, self._sample_us = market, writer, sample_us
        # By (stream, symbol) and writer.
        self._snapshots: dict[tuple[str, str], dict[str, Snapshot]] = {}
        self._tails: dict[tuple[str, str], _Tail] = {}
        self._ends: dict[str, dict[str, int]] = {}
        self._dlq_end = 0
        self._is_pass = writer.startswith(FILE)
        # (position, reason) of the dead letters that earlier passes over the same file sent.
        self.dead_letters: set[tuple[str, str]] = set()

    def load(self, gaps: GapBook | None = None) -> None:
        """Read the ledger, the gaps, and the tails of trades, ticks and dead letters.

        Raises:
            StoreUnavailable: Kafka does not answer.
        """
        values = self._log.latest(LEDGER)
        for snapshot in snapshots({key: value for key, value in values.items() if value["market"] == self.market}):
            head = snapshot.head
            self._snapshots.setdefault((head["stream"], head["symbol"]), {})[head["writer"]] = snapshot
        for topic, is_tick in ((TRADES, False), (TICKS, True)):
            self._read_tail(topic, is_tick)
        self._read_dead_letters()
        if gaps is not None:
            gaps.restore(self._log.latest(GAPS).values(), self.market)

    def _starts(self, is_tick: bool) -> dict[int, int] | None:
        """Return the offset by partition where the tail begins, None when there is no tail.

        That is the least offset of all snapshots that are not marked as closed: a writer that was
        killed may have written more after them.
        """
        starts: dict[int, int] = {}
        for value in (snapshot.head for writers in self._snapshots.values() for snapshot in writers.values()):
            if (value["stream"] in TICK_STREAMS) is not is_tick or value["stream"] == UNKNOWN:
                continue
            if value.get("closed"):
                continue
            for part, offset in value["offsets"].items():
                starts[int(part)] = min(offset, starts.get(int(part), offset))
        return starts or None

    def _read_tail(self, topic: str, is_tick: bool) -> None:
        self._ends[topic] = self._log.ends(topic)
        starts = self._starts(is_tick)
        if starts is None:
            return
        count = 0
        for message in self._log.read(topic, starts):
            value = message.value() or b""
            try:
                self._note_event(message, value, is_tick)
            except RejectedRecord as error:
                log.warning("a record in the log is no event", topic=topic, offset=message.offset(), error=str(error))
            count += 1
        log.info("the tail of the log was read", topic=topic, records=count)

    def _note_event(self, message: Message, value: bytes, is_tick: bool) -> None:
        named = split_event_id(event_id_of(value))
        if named is None or named[0] != self.market:
            return
        identity, number = named[1], named[1].exchange_id
        if is_tick:
            record = decode("tick", value)
            moment = record["event_time"] or record["ingest_time"]
            number = (int(moment.timestamp()) * 1_000_000 + moment.microsecond) // self._sample_us
        tail = self._tails.setdefault((identity.stream, identity.symbol), _Tail())
        own = self._snapshots_of(identity.stream, identity.symbol).get(self.writer)
        start = own.head["offsets"].get(str(message.partition())) if own else None
        is_after_snapshot = start is not None and (message.offset() or 0) >= start
        (tail.own if is_after_snapshot else tail.others).add(number)

    def _snapshots_of(self, stream: str, symbol: str) -> dict[str, Snapshot]:
        return self._snapshots.get((stream, symbol), {})

    def _read_dead_letters(self) -> None:
        """Read the dead letters: ids rejected after the snapshots, letters of earlier passes."""
        for message in self._log.read(PRODUCER_DEAD_LETTERS):
            headers = {name: (text or b"").decode() for name, text in _headers(message.headers())}
            writer, reason = headers.get("writer", ""), headers.get("reason", "")
            if writer == self.writer and self._is_pass:  # a file is read again from its first line
                self.dead_letters.add((headers.get("position", ""), reason))
            named = split_event_id((message.key() or b"").decode(errors="replace"))
            if named is not None and named[0] == self.market and reason != "conflict":
                self._note_dead_letter(message, named[1], writer)
        self._dlq_end = self._log.ends(PRODUCER_DEAD_LETTERS)["0"]

    def _note_dead_letter(self, message: Message, identity: Identity, writer: str) -> None:
        tail = self._tails.setdefault((identity.stream, identity.symbol), _Tail())
        if writer == self.writer:
            tail.dead_letters.add(identity.exchange_id)
        snapshot = self._snapshots_of(identity.stream, identity.symbol).get(writer)
        is_covered = (
            snapshot is not None
            and "rejected" in snapshot.head
            and (message.offset() or 0) < snapshot.head["dlq_offset"]
        )
        if not is_covered:
            tail.rejected.setdefault(writer, set()).add(identity.exchange_id)

    def known(self) -> list[tuple[str, str]]:
        """Return (stream, symbol) of every ledger that this writer has in Kafka."""
        return [key for key, writers in self._snapshots.items() if self.writer in writers]

    def prepare(self, ledger: StreamLedger) -> None:
        """Load a new ledger from Kafka, and send its first snapshot.

        The caller flushes before it sends the first record of the stream. So even a writer that is
        killed early leaves a snapshot, from which the next start reads the tail.
        """
        tail = self._tails.pop((ledger.stream, ledger.symbol), _Tail())
        writers: list[tuple[IntervalSet, IntervalSet]] = [
            (_set({*tail.own, *tail.others}), IntervalSet()),
            *((IntervalSet(), _set(rejected_ids)) for rejected_ids in tail.rejected.values()),
        ]
        for name, snapshot in self._snapshots_of(ledger.stream, ledger.symbol).items():
            seen = snapshot.seen(is_tick=ledger.is_tick)
            rejected = snapshot.rejected()
            if rejected is None:
                rejected = _set(tail.rejected.get(name, set()))
            writers.append((seen, rejected))
            if name == self.writer:
                ledger.restore(snapshot.head, snapshot.parts)
                continue
            ledger.add_others(snapshot.head, snapshot.parts)
            if name.startswith(FILE):
                delivered = IntervalSet(seen)
                delivered.remove(rejected)
                ledger.include_replayed(delivered)
        self._add_tail(ledger, tail, undelivered_of(writers))
        if self._is_pass:
            ledger.start_pass()
        # Send a snapshot even when there is one already: it may be marked as closed, and from now
        # on there can be a tail again.
        self._set_offsets(ledger)
        self._send(ledger, is_closed=False)

    def _add_tail(self, ledger: StreamLedger, tail: _Tail, rejected: IntervalSet) -> None:
        """Add the tail: ids after this writer's snapshot as its own, the rest as ids of others."""
        for number in sorted(tail.own):
            if number in ledger.own or number not in ledger.others:
                ledger.add_from_log(number)
        for number in sorted(tail.rejected.pop(self.writer, set())):
            if number not in ledger.own and number not in ledger.others:
                ledger.add_from_log(number, is_rejected=True)
        others = [[number, number] for number in sorted(tail.others.union(*tail.rejected.values()))]
        ledger.add_others({"seen": others, "buckets": others})
        ledger.dead_letters = _set(tail.dead_letters)
        ledger.rejected = rejected

    def _set_offsets(self, ledger: StreamLedger) -> None:
        topic = TICKS if ledger.is_tick else TRADES
        ledger.offsets = dict(self._ends[topic])
        ledger.began_at = ledger.began_at or dict(ledger.offsets)
        ledger.dlq_offset = self._dlq_end
        ledger.is_dirty = True

    def save(self, ledgers: Iterable[StreamLedger], gaps: GapBook | None = None, *, is_closed: bool = False) -> None:
        """Flush, then save every ledger and gap that changed.

        The caller sends no event until this returns.

        Raises:
            StoreUnavailable: Kafka does not acknowledge; nothing was saved.
        """
        now_us = self._clock()
        changed = [
            ledger for ledger in ledgers if ledger.has_news or is_closed or now_us - ledger.saved_us > REFRESH_US
        ]
        if not changed and not (gaps and gaps.changed):
            return
        self._outbox.flush()
        self._ends = {topic: self._log.ends(topic) for topic in (TRADES, TICKS)}
        self._dlq_end = self._log.ends(PRODUCER_DEAD_LETTERS)["0"]
        for ledger in changed:
            self._set_offsets(ledger)
            self._send(ledger, is_closed=is_closed)
        for gap in gaps.take_changed() if gaps else []:
            self._outbox.send(GAPS, msgspec.json.encode(gap), gap.name.encode())
        self._outbox.poll()

    def _send(self, ledger: StreamLedger, *, is_closed: bool) -> None:
        """Send the changed parts, the head, and tombstones of parts now in the head."""
        now_us = ledger.saved_us = self._clock()
        write, obsolete = ledger.plan_parts()
        for block in sorted(write):
            self._outbox.send(LEDGER, _json(ledger.part_value(block, now_us)), part_key(ledger.name, block).encode())
        self._outbox.send(LEDGER, _json(ledger.head_value(now_us, is_closed=is_closed)), ledger.name.encode())
        for block in sorted(obsolete):
            self._outbox.send(LEDGER, None, part_key(ledger.name, block).encode())

    def delivered_payloads(self) -> DeliveredPayloads:
        """Return the comparison of repeats with the trades in the log."""

        def read(span: Span) -> Iterator[Message]:
            starts, ends = ({part: pair[at] for part, pair in span.items()} for at in (0, 1))
            return self._log.read(TRADES, starts, ends)

        return DeliveredPayloads(read, self._span_of)

    def _span_of(self, ledger: StreamLedger, trade: Trade) -> list[Span]:
        """Return where the trades of a stream may be in the log.

        The first span is where other writers wrote; the second begins at the trade time. A snapshot
        of an earlier version lacks `began_at`; its file may begin at offset 0.
        """
        ends = {int(part): end for part, end in self._ends[TRADES].items()}
        files: Span = {}
        for name, snapshot in self._snapshots_of(ledger.stream, ledger.symbol).items():
            if name in (self.writer, LIVE):
                continue
            for part, end in snapshot.head["offsets"].items():
                start = snapshot.head.get("began_at", {}).get(part, 0)
                until = end if snapshot.head.get("closed") else ends[int(part)]
                low, high = files.get(int(part), (start, until))
                files[int(part)] = min(low, start), max(high, until)
        when = self._log.offsets_at(TRADES, trade.trade_us - CLOCK_SLACK_US)
        live = {part: (start, ends[part]) for part, start in when.items() if part in ends}
        return [files, live] if LIVE in self._snapshots_of(ledger.stream, ledger.symbol) else [files]


def _set(numbers: Iterable[int]) -> IntervalSet:
    return IntervalSet((number, number) for number in numbers)


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _headers(headers: Any) -> list[tuple[str, bytes | None]]:  # librdkafka returns a list; its type stub allows more
    return list(headers or [])
