"""Which ids of one stream are in Kafka. This decides whether an event is sent.

The module does no I/O.

An id of `own` or `others` is in `crypto.trades` or in the dead letters, so it is no gap. An id that
is only a dead letter is in `rejected` too: the first valid event with that id is delivered, no
matter from which source.

The log is authoritative, and the ledger is a summary of it. A snapshot lists the ids that are in
`crypto.trades` or `dlq.producer` up to certain offsets. A writer that starts from it reads the
records after those offsets (the tail) and adds them (`add_from_log`). So a writer that was killed
before its last snapshot loses nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum, auto
from typing import Any, Final

from common.intervals import IntervalSet, Ranges
from producer.events import TICK_STREAMS, event_prefix, record_key
from producer.ledger.snapshots import BLOCK_BITS, HEAD_RANGES, Snapshot, blocks_of, bounds_of, encoded

COUNTS: Final = ("received", "delivered", "rejected", "duplicates", "conflicts", "sampled_out", "ignored")
# Symbol and stream under which frames are counted that belong to no stream: ignored or unreadable
# ones.
UNKNOWN: Final = "*"


class IdStatus(Enum):
    """Whether the event of an id was sent before."""

    NEW = auto()
    DUPLICATE = auto()
    SENT_EARLIER = auto()  # this writer sent it in an earlier run, and reads the same file again


class StreamLedger:
    """The ids of one (market, symbol, stream) that one writer knows to be in Kafka.

    `own` are the ids that this writer sent. `others` are those that other writers had sent when
    this one started. They are not sent again, but do not show where this writer's stream ended.

    An id is a trade id; of tickers it is the number of the sampling bucket.
    """

    __slots__ = (
        "began_at",
        "changed_blocks",
        "counts",
        "dead_letters",
        "dlq_offset",
        "expected_id",
        "is_dirty",
        "is_tick",
        "key",
        "market",
        "offsets",
        "others",
        "own",
        "part_blocks",
        "pass_dead_letters",
        "pass_seen",
        "prefix",
        "rejected",
        "replayed",
        "run_count",
        "sampled_out_count",
        "saved_us",
        "start_id",
        "stream",
        "symbol",
        "writer",
    )  # fmt: skip

    def __init__(self, market: str, symbol: str, stream: str, writer: str) -> None:
        self.market, self.symbol, self.stream, self.writer = market, symbol, stream, writer
        self.prefix = event_prefix(market, symbol, stream)
        self.key = record_key(market, symbol)
        self.is_tick = stream in TICK_STREAMS
        self.own, self.others = IntervalSet(), IntervalSet()
        # Ids of `own` and `others` that are dead letters, and that no writer has delivered.
        self.rejected = IntervalSet()
        # Ids for which this writer sent a dead letter, whether or not they were delivered later. A
        # second dead letter would add nothing.
        self.dead_letters, self.pass_dead_letters = IntervalSet(), IntervalSet()
        # Ids read in this pass over a file; None for a live stream.
        self.pass_seen: IntervalSet | None = None
        # First and last id that other files delivered: what is missing between them is a hole.
        self.replayed: tuple[int, int] | None = None
        # The first id of the stream that this writer saw: lower ids are older than the stream and
        # never a hole.
        self.start_id: int | None = None
        # The id after the greatest id. The hot path compares only with this; -1 never matches.
        self.expected_id = -1
        self.counts = dict.fromkeys(COUNTS, 0)
        self.offsets: dict[str, int] = {}
        # Where the topic ended when this writer first wrote: all its records come after that.
        self.began_at: dict[str, int] = {}
        # Blocks of ids changed since the last snapshot, and blocks that are stored as parts
        # (`producer.ledger.snapshots`).
        self.changed_blocks: set[int] = set()
        self.part_blocks: set[int] = set()
        self.dlq_offset = 0
        self.is_dirty = False
        self.saved_us = 0
        # Counted by the hot path since the last `flush_run`: events in sequence (their ids end just
        # before `expected_id`), and ticks that were sampled out.
        self.run_count = 0
        self.sampled_out_count = 0

    @property
    def name(self) -> str:
        """Return the key of this ledger's snapshots."""
        return f"{self.market}/{self.symbol}/{self.stream}/{self.writer}"

    @property
    def has_news(self) -> bool:
        """Return whether anything changed since the last snapshot."""
        return self.is_dirty or self.run_count > 0 or self.sampled_out_count > 0

    def start_pass(self) -> None:
        """Start to read a file from its first line.

        Counts start at 0; ids that earlier passes sent stay sent.
        """
        self.pass_seen, self.pass_dead_letters = IntervalSet(), IntervalSet()
        self.counts = dict.fromkeys(COUNTS, 0)
        self.expected_id = -1

    def flush_run(self) -> None:
        """Add the ids and counts that the hot path has only counted."""
        run_count, self.run_count = self.run_count, 0
        if self.sampled_out_count:
            self.count("sampled_out", self.sampled_out_count)
            self.sampled_out_count = 0
        if run_count:
            low, high = self.expected_id - run_count, self.expected_id - 1
            self.own.add_range(low, high)
            self.changed_blocks.update(blocks_of(low, high))
            if self.pass_seen is not None:
                self.pass_seen.add_range(low, high)
            self.counts["received"] += run_count
            self.counts["delivered"] += run_count
            self.is_dirty = True

    def status_of(self, number: int) -> IdStatus:
        """Return whether an id is new, without recording it."""
        self.flush_run()
        if len(self.rejected) and number in self.rejected:
            return IdStatus.NEW
        if self.pass_seen is not None:
            if number in self.pass_seen or (number in self.others and number not in self.own):
                return IdStatus.DUPLICATE
            return IdStatus.SENT_EARLIER if number in self.own else IdStatus.NEW
        return IdStatus.DUPLICATE if number in self.own or number in self.others else IdStatus.NEW

    def is_known(self, number: int) -> bool:
        """Return whether an id is in Kafka or in the dead letters, no matter who sent it."""
        self.flush_run()
        return number in self.own or number in self.others

    def take_after_last(self, number: int) -> IdStatus | None:
        """Record an id greater than all ids that a file has delivered, and return its status.

        This is a fast path for files whose ids skip, or that fill what other writers left out. It
        returns None where the id needs `status_of` and `take`.
        """
        if self.pass_seen is None or self.run_count or self.sampled_out_count or len(self.rejected):
            return None
        last = self.own.last
        if last is None or number <= last:
            return None
        if number in self.others:  # it cannot be in `own`, which ends before it
            return IdStatus.DUPLICATE
        self.own.add(number)
        self.pass_seen.add(number)
        self.changed_blocks.add(number >> BLOCK_BITS)
        self.count("delivered")
        beyond = self.others.last
        self.expected_id = number + 1 if beyond is None or beyond <= number else -1  # `_expect_next` in short
        return IdStatus.NEW

    def take(self, number: int, outcome: str) -> list[tuple[int, int]]:
        """Record an id under one of `COUNTS` and return the ranges of ids that it skipped.

        The first id of a stream skips nothing, nor does one below the greatest. The holes of a file
        are found at its end.
        """
        self.flush_run()
        last = self.own.last
        self._begin(number)
        self.own.add(number)
        if self.pass_seen is not None:
            self.pass_seen.add(number)
        self._mark(number, is_rejected=outcome == "rejected")
        self.count(outcome)
        self._expect_next()
        if last is None or number <= last + 1 or self.pass_seen is not None:
            return []
        return self.missing(last + 1, number - 1)

    def _mark(self, number: int, *, is_rejected: bool) -> None:
        self.changed_blocks.add(number >> BLOCK_BITS)
        if is_rejected:
            self.rejected.add(number)
        elif len(self.rejected) and number in self.rejected:
            self.rejected.remove([(number, number)])

    def note_dead_letter(self, number: int) -> None:
        """Record that an id was rejected, in this pass and by this writer."""
        self.pass_dead_letters.add(number)
        self.dead_letters.add(number)

    def missing(self, low: int, high: int) -> list[tuple[int, int]]:
        """Return the ranges of [low, high] that no known writer has put into Kafka."""
        self.flush_run()
        return [hole for first, last in self.own.missing(low, high) for hole in self.others.missing(first, last)]

    def is_missing(self, low: int, high: int) -> bool:
        """Return whether any id of [low, high] is missing; stops at the first one."""
        self.flush_run()
        if low == high:  # the usual size where ids skip
            return low not in self.own and low not in self.others
        holes = (hole for first, last in self.own.holes(low, high) for hole in self.others.holes(first, last))
        return next(holes, None) is not None

    def undelivered(self, low: int, high: int) -> list[tuple[int, int]]:
        """Return the ranges of [low, high] to ask the exchange for: missing or dead letters."""
        return list(IntervalSet([*self.missing(low, high), *self.rejected.within(low, high)]))

    def first_undelivered(self, low: int, high: int) -> int | None:
        """Return the lowest id of `undelivered`; stops at the first one."""
        self.flush_run()
        holes = (hole for first, last in self.own.holes(low, high) for hole in self.others.holes(first, last))
        candidates = (next(holes, None), self.rejected.first_within(low, high))
        return min((pair[0] for pair in candidates if pair is not None), default=None)

    def delivered(self) -> list[tuple[int, int]]:
        """Return the ranges of ids that this writer delivered."""
        self.flush_run()
        if not len(self.rejected):
            return list(self.own)
        return [part for low, high in self.own for part in self.rejected.missing(low, high)]

    def replayed_span(self) -> tuple[int, int] | None:
        """Return the first and last id that files delivered, None when there is none."""
        own = self.delivered()
        spans = [(own[0][0], own[-1][1])] if own else []
        spans += [self.replayed] if self.replayed else []
        return (min(low for low, _ in spans), max(high for _, high in spans)) if spans else None

    def holes(self) -> list[tuple[int, int]]:
        """Return the ranges missing between the first and the last id of the stream or file."""
        self.flush_run()
        first = self.start_id if self.pass_seen is None and self.start_id is not None else 0
        return [hole for low, high in self.own.gaps() for hole in self.others.missing(max(low, first), high)]

    def begin_at_first(self) -> None:
        """Set the start of the stream to its lowest recorded id; later missing ids are holes."""
        self.flush_run()
        first = next(iter(self.own), None)
        if first is not None:
            self.start_id = first[0]
            self.is_dirty = True

    def _begin(self, number: int) -> None:
        if self.start_id is None:
            self.start_id = number

    def count(self, outcome: str, amount: int = 1) -> None:
        """Count received events under one of `COUNTS`."""
        self.counts["received"] += amount
        self.counts[outcome] += amount
        self.is_dirty = True

    def add_from_log(self, number: int, *, is_rejected: bool = False) -> None:
        """Add an id that was found in the log after the last snapshot."""
        self.flush_run()
        self._begin(number)
        self._mark(number, is_rejected=is_rejected)
        if number not in self.own:
            self.own.add(number)
            self.count("rejected" if is_rejected else "delivered")
        self._expect_next()

    def _expect_next(self) -> None:
        # While a file is read again, each id that an earlier pass sent must be compared by itself.
        last = self.own.last
        follows = -1 if last is None else last + 1
        beyond = self.others.last
        is_free = (beyond is None or beyond < follows) and (self.pass_seen is None or follows - 1 in self.pass_seen)
        self.expected_id = follows if is_free else -1

    def plan_parts(self) -> tuple[set[int], set[int]]:
        """Decide which blocks are stored as parts; return those to write and to remove.

        Only blocks that changed since the last call are checked, so a snapshot costs as much as the
        changes, not as much as the ledger.
        """
        self.flush_run()
        ranges = len(self.own) + len(self.rejected)
        if ranges <= (HEAD_RANGES // 2 if self.part_blocks else HEAD_RANGES):
            obsolete, self.part_blocks = self.part_blocks, set()
            self.changed_blocks.clear()
            return set(), obsolete
        candidates = self.changed_blocks if self.part_blocks else self._all_edges()
        write = {block for block in candidates if self._needs_part(block)}
        obsolete = (candidates & self.part_blocks) - write
        self.part_blocks = (self.part_blocks - obsolete) | write
        self.changed_blocks = set()
        return write, obsolete

    def _all_edges(self) -> set[int]:
        """Return every block that may not be whole.

        That is where a range begins or ends, or where an id was rejected.
        """
        edges = {number >> BLOCK_BITS for pair in self.own for number in pair}
        return edges.union(*(blocks_of(low, high) for low, high in self.rejected))

    def _needs_part(self, block: int) -> bool:
        low, high = bounds_of(block)
        own = self.own.within(low, high)
        return bool(own) and (own != [(low, high)] or bool(self.rejected.within(low, high)))

    def part_value(self, block: int, now_us: int) -> dict[str, Any]:
        """Return the value of crypto.ledger for one part: a block of ids that is not whole."""
        low, high = bounds_of(block)
        own = self.own.within(low, high)
        return {
            **self._key_fields(), "part": block, "seen": [],
            **encoded("buckets" if self.is_tick else "seen", block, own),
            **encoded("rejected", block, self._rejected_within(own)), "closed": True, "updated_at_us": now_us,
        }  # fmt: skip

    def _key_fields(self) -> dict[str, Any]:
        return {
            "v": 1, "market": self.market, "symbol": self.symbol, "stream": self.stream, "writer": self.writer,
        }  # fmt: skip

    def _rejected_within(self, own: Iterable[tuple[int, int]]) -> Ranges:
        return [pair for low, high in own for pair in self.rejected.within(low, high)] if len(self.rejected) else []

    def _ids_of_head(self) -> Ranges:
        """Return the ids that are stored in no part."""
        ranges: Ranges = []
        at = 0
        for block in sorted(self.part_blocks):
            low, high = bounds_of(block)
            ranges += self.own.within(at, low - 1) if at < low else []
            at = high + 1
        last = self.own.last
        return ranges + (self.own.within(at, last) if last is not None and at <= last else [])

    def head_value(self, now_us: int, *, is_closed: bool = False) -> dict[str, Any]:
        """Return the value of crypto.ledger for this stream, without the ids of its parts.

        `closed` means that this writer left no tail for a later start to read.
        """
        self.flush_run()
        self.is_dirty = False
        own = self._ids_of_head()
        ranges = [list(pair) for pair in own]
        return {
            **self._key_fields(), "seen": [] if self.is_tick else ranges,
            **({"buckets": ranges} if self.is_tick else {}),
            "rejected": [list(pair) for pair in self._rejected_within(own)], "parts": len(self.part_blocks),
            "offsets": dict(self.offsets), "began_at": dict(self.began_at), "dlq_offset": self.dlq_offset,
            "start_id": self.start_id, "counts": dict(self.counts), "closed": is_closed, "updated_at_us": now_us,
        }  # fmt: skip

    def restore(self, value: Mapping[str, Any], parts: Iterable[Mapping[str, Any]] = ()) -> None:
        """Load this writer's own snapshot; its rejected ids come from `undelivered_of`."""
        snapshot = Snapshot(value, parts)
        self.own.update(snapshot.seen(is_tick=self.is_tick))
        self.part_blocks = snapshot.blocks()
        self.counts.update({name: int(value["counts"].get(name, 0)) for name in COUNTS})
        self.offsets = {str(part): int(offset) for part, offset in value["offsets"].items()}
        self.began_at = {str(part): int(offset) for part, offset in value.get("began_at", {}).items()}
        self.dlq_offset = int(value.get("dlq_offset", 0))
        self.start_id = value.get("start_id", self.start_id)
        self._expect_next()

    def add_others(self, value: Mapping[str, Any], parts: Iterable[Mapping[str, Any]] = ()) -> None:
        """Add the ids of another writer's snapshot of the same stream."""
        self.others.update(Snapshot(value, parts).seen(is_tick=self.is_tick))
        self._expect_next()

    def include_replayed(self, delivered: IntervalSet) -> None:
        """Extend the range in which holes are searched by the ids that another file delivered."""
        if delivered.first is not None and delivered.last is not None:
            low, high = self.replayed or (delivered.first, delivered.last)
            self.replayed = min(low, delivered.first), max(high, delivered.last)
