"""The writer's memory in Kafka: load what is known of a stream, fold in the tail, write snapshots after the flush."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec
import structlog
from confluent_kafka import Message

from producer.codec import decode, event_id_of
from producer.events import TICK_STREAMS, split_event_id
from producer.gaps import GapBook
from producer.intake import UNKNOWN
from producer.ledger import StreamLedger, ledger_key
from producer.outbox import DEAD_LETTERS, GAPS, LEDGER, TICKS, TRADES, Outbox
from producer.topic_log import TopicLog
from tickhouse.errors import RejectedRecord

log = structlog.get_logger(__name__)

LIVE: Final = "live"
BACKFILL: Final = "backfill"
# A quiet stream gets a snapshot that often too: the tail that a start must read begins at the oldest of all.
REFRESH_US: Final = 60_000_000


def file_writer(sha256: str) -> str:
    """Return the writer name of a replayed file."""
    return f"file:{sha256[:12]}"


class _Tail(msgspec.Struct):
    """Ids of one stream found in the log behind a snapshot."""

    own: set[int] = msgspec.field(default_factory=set)
    rejected: set[int] = msgspec.field(default_factory=set)
    others: set[int] = msgspec.field(default_factory=set)


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
        self._values: dict[str, dict[str, Any]] = {}
        # By (stream, symbol): what lies behind this writer's own snapshot, what was rejected there, what is older.
        self._tails: dict[tuple[str, str], _Tail] = {}
        self._ends: dict[str, dict[str, int]] = {}
        self._dlq_end = 0
        self._is_pass = writer.startswith("file:")
        # Position and reason of the letters that earlier passes over the same file sent.
        self.letters: set[tuple[str, str]] = set()

    def load(self, gaps: GapBook | None = None) -> None:
        """Read ledger, gaps and the tails of trades, ticks and dead letters.

        Raises:
            StoreUnavailable: Kafka does not answer.
        """
        values = self._log.latest(LEDGER)
        self._values = {key: value for key, value in values.items() if value["market"] == self.market}
        for topic, is_tick in ((TRADES, False), (TICKS, True)):
            self._fold_topic(topic, is_tick)
        self._fold_letters()
        if gaps is not None:
            gaps.restore(self._log.latest(GAPS).values(), self.market)

    def _starts(self, is_tick: bool) -> dict[int, int] | None:
        """Return where the tail begins: the least offset of a snapshot whose writer may have left one, None for none.

        That is this writer's own snapshots and those of writers that were cut off. A writer that ended well says so.
        """
        starts: dict[int, int] = {}
        for value in self._values.values():
            if (value["stream"] in TICK_STREAMS) is not is_tick or value["stream"] == UNKNOWN:
                continue
            if value.get("closed"):
                continue
            for part, offset in value["offsets"].items():
                starts[int(part)] = min(offset, starts.get(int(part), offset))
        return starts or None

    def _fold_topic(self, topic: str, is_tick: bool) -> None:
        self._ends[topic] = self._log.ends(topic)
        starts = self._starts(is_tick)
        if starts is None:
            return
        count = 0
        for message in self._log.read(topic, starts):
            value = message.value() or b""
            try:
                self._note(message, value, is_tick)
            except RejectedRecord as error:
                log.warning("foreign record in the log", topic=topic, offset=message.offset(), error=str(error))
            count += 1
        log.info("tail folded in", topic=topic, records=count)

    def _note(self, message: Message, value: bytes, is_tick: bool) -> None:
        named = split_event_id(event_id_of(value))
        if named is None or named[0] != self.market:
            return
        identity, number = named[1], named[1].exchange_id
        if is_tick:
            record = decode("tick", value)
            moment = record["event_time"] or record["ingest_time"]
            number = (int(moment.timestamp()) * 1_000_000 + moment.microsecond) // self._sample_us
        tail = self._tails.setdefault((identity.stream, identity.symbol), _Tail())
        own = self._own(identity.stream, identity.symbol)
        start = own["offsets"].get(str(message.partition())) if own else None
        is_behind = start is not None and (message.offset() or 0) >= start
        (tail.own if is_behind else tail.others).add(number)

    def _own(self, stream: str, symbol: str) -> dict[str, Any] | None:
        return self._values.get(ledger_key(self.market, symbol, stream, self.writer))

    def _fold_letters(self) -> None:
        own = [value for value in self._values.values() if value["writer"] == self.writer]
        start = min((value.get("dlq_offset", 0) for value in own), default=0)
        for message in self._log.read(DEAD_LETTERS, {0: 0 if self._is_pass else start}):
            headers = {name: (text or b"").decode() for name, text in _headers(message.headers())}
            is_own = headers.get("writer") == self.writer
            if is_own and self._is_pass:  # a file is read again from its first line; a socket never says the same twice
                self.letters.add((headers.get("position", ""), headers.get("reason", "")))
            named = split_event_id((message.key() or b"").decode(errors="replace"))
            if named is not None and named[0] == self.market and headers.get("reason") != "conflict":
                tail = self._tails.setdefault((named[1].stream, named[1].symbol), _Tail())
                (tail.rejected if is_own else tail.others).add(named[1].exchange_id)
        self._dlq_end = self._log.ends(DEAD_LETTERS)["0"]

    def known(self) -> list[tuple[str, str]]:
        """Return (stream, symbol) of every ledger this writer has."""
        return [(v["stream"], v["symbol"]) for v in self._values.values() if v["writer"] == self.writer]

    def prepare(self, ledger: StreamLedger) -> None:
        """Fill a new ledger with what Kafka knows of its stream, and send its first snapshot.

        The caller flushes before it sends the first record of the stream: a writer that dies early has then left a
        place to read the tail from.
        """
        for value in self._values.values():
            if (value["symbol"], value["stream"]) != (ledger.symbol, ledger.stream):
                continue
            if value["writer"] == self.writer:
                ledger.restore(value)
            else:
                ledger.learn(value)
        self._take_tail(ledger)
        if self._is_pass:
            ledger.start_pass()
        # Also where there is one already: it may say `closed`, and from now on there can be a tail again.
        self._stamp(ledger)
        self._send(ledger, is_closed=False)

    def _take_tail(self, ledger: StreamLedger) -> None:
        """Fold the tail in: as this writer's own what lies behind its snapshot, the rest as somebody's."""
        tail = self._tails.pop((ledger.stream, ledger.symbol), None)
        if tail is None:
            return
        for ids, is_rejected in ((tail.own, False), (tail.rejected, True)):
            for number in sorted(ids):
                if number in ledger.own or number not in ledger.others:
                    ledger.fold(number, is_rejected=is_rejected)
        others = [[number, number] for number in tail.others]
        ledger.learn({"seen": others, "buckets": others})

    def _stamp(self, ledger: StreamLedger) -> None:
        topic = TICKS if ledger.is_tick else TRADES
        ledger.offsets = dict(self._ends[topic])
        ledger.dlq_offset = self._dlq_end
        ledger.is_dirty = True

    def save(self, ledgers: Iterable[StreamLedger], gaps: GapBook | None = None, *, is_closed: bool = False) -> None:
        """Flush, then write the snapshot of every ledger that changed and every gap that did.

        Nothing may be sent between the start of this call and its end.

        Raises:
            StoreUnavailable: Kafka does not acknowledge; then nothing is written.
        """
        now_us = self._clock()
        changed = [x for x in ledgers if x.has_news or is_closed or now_us - x.saved_us > REFRESH_US]
        if not changed and not (gaps and gaps.changed):
            return
        self._outbox.flush()
        self._ends = {topic: self._log.ends(topic) for topic in (TRADES, TICKS)}
        self._dlq_end = self._log.ends(DEAD_LETTERS)["0"]
        for ledger in changed:
            self._stamp(ledger)
            self._send(ledger, is_closed=is_closed)
        for gap in gaps.take_changed() if gaps else []:
            self._outbox.send(GAPS, _json(msgspec.to_builtins(gap)), gap.name.encode())
        self._outbox.poll()

    def _send(self, ledger: StreamLedger, *, is_closed: bool) -> None:
        ledger.saved_us = self._clock()
        self._outbox.send(LEDGER, _json(ledger.snapshot(self._clock(), is_closed=is_closed)), ledger.name.encode())


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _headers(found: Any) -> list[tuple[str, bytes | None]]:  # librdkafka gives a list, its stub says more
    return list(found or [])
