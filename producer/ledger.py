"""What one writer has put into Kafka, a stream at a time: the decisions, without any I/O.

The ledger is a view of the log. A snapshot says which ids are in `crypto.trades` or `dlq.producer` up to some offsets;
whoever starts from it folds in what lies behind those offsets (`fold`), so that nothing depends on the last snapshot
having been written.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Any, Final

import msgspec

from producer.events import TICK_STREAMS, Trade, event_prefix, record_key
from producer.intervals import IntervalSet

COUNTS: Final = ("received", "delivered", "rejected", "duplicates", "conflicts", "sampled_out", "ignored")
# Recent payloads kept to tell a repeat from a conflict: two generations of 2^13 trades of about 0.5 KiB, 8 MiB. The
# worst second ever seen had 2,466 frames, so this reaches back 3 s at that rate and 40 s at the usual one; repeats
# come at once or from the overlap of two connections (1 to 2 s). Four times as many cost 8 % CPU in cache misses.
RECENT: Final = 1 << 13


class Verdict(Enum):
    """What to do with an event."""

    NEW = auto()
    DUPLICATE = auto()
    CONFLICT = auto()
    EARLIER = auto()  # this writer sent it in an earlier run, and this run reads the same file again


class RecentPayloads:
    """The last trades by event id, at least `size` of them; anything older cannot be compared any more.

    Two generations: the hot path writes into `newest` itself, and `turn` is called once a batch.
    """

    __slots__ = ("_older", "_size", "newest")

    def __init__(self, size: int = RECENT) -> None:
        self.newest: dict[str, Trade] = {}
        self._older: dict[str, Trade] = {}
        self._size = size

    def turn(self) -> None:
        """Let the older generation go when the newest is full."""
        if len(self.newest) >= self._size:
            self._older, self.newest = self.newest, {}

    def get(self, event_id: str) -> Trade | None:
        """Return the trade delivered under an id when it is recent."""
        return self.newest.get(event_id) or self._older.get(event_id)


class StreamLedger:
    """The ids of one (market, symbol, stream) that one writer knows to be in Kafka.

    `own` are the ids this writer vouches for; `others` are those of other writers, known at its start, which are not
    sent again but say nothing about where this writer's stream went on.
    """

    __slots__ = (
        "counts", "dlq_offset", "expected", "is_dirty", "is_tick", "key", "market", "number", "offsets", "others",
        "own", "pass_seen", "prefix", "rejected", "sampled_out", "saved_us", "start_id", "stream", "symbol", "writer",
    )  # fmt: skip

    def __init__(self, market: str, symbol: str, stream: str, writer: str) -> None:
        self.market, self.symbol, self.stream, self.writer = market, symbol, stream, writer
        self.prefix = event_prefix(market, symbol, stream)
        self.key = record_key(market, symbol)
        self.is_tick = stream in TICK_STREAMS
        self.own, self.others = IntervalSet(), IntervalSet()
        # Those of `own` that went to the dead letters; known of this run and of the log that it read.
        self.rejected = IntervalSet()
        self.pass_seen: IntervalSet | None = None
        # The first id this writer ever saw of the stream: what lies below is older than the stream, never a hole.
        self.start_id: int | None = None
        # The id that follows the greatest one: the hot path compares with this alone.
        self.expected = -1
        self.counts = dict.fromkeys(COUNTS, 0)
        self.offsets: dict[str, int] = {}
        self.dlq_offset = 0
        self.is_dirty = False
        self.saved_us = 0
        # Since the last `settle`, counted by the hot path: events in sequence, and ticks that were not kept.
        self.number = 0
        self.sampled_out = 0

    @property
    def name(self) -> str:
        """Return the key of this ledger's snapshots."""
        return ledger_key(self.market, self.symbol, self.stream, self.writer)

    @property
    def has_news(self) -> bool:
        """Return whether something happened since the last snapshot."""
        return self.is_dirty or self.number > 0 or self.sampled_out > 0

    def start_pass(self) -> None:
        """Begin to read a file from its first line again: counts are of one pass, ids sent earlier stay sent."""
        self.pass_seen = IntervalSet()
        self.counts = dict.fromkeys(COUNTS, 0)
        self.expected = -1

    def settle(self) -> None:
        """Bring the set and the counts up to the events that the hot path let through in sequence."""
        run, self.number = self.number, 0
        if self.sampled_out:
            self.count("sampled_out", self.sampled_out)
            self.sampled_out = 0
        if run:
            low, high = self.expected - run, self.expected - 1
            self.own.add_range(low, high)
            if self.pass_seen is not None:
                self.pass_seen.add_range(low, high)
            self.counts["received"] += run
            self.counts["delivered"] += run
            self.is_dirty = True

    def judge(self, number: int) -> Verdict:
        """Say whether an id is new; does not remember it."""
        self.settle()
        if self.pass_seen is not None:
            if number in self.pass_seen or (number in self.others and number not in self.own):
                return Verdict.DUPLICATE
            return Verdict.EARLIER if number in self.own else Verdict.NEW
        return Verdict.DUPLICATE if number in self.own or number in self.others else Verdict.NEW

    def take(self, number: int, count: str) -> list[tuple[int, int]]:
        """Remember an id under one of `COUNTS` and return the ids it skipped, as ranges.

        Nothing is skipped by the first id of a stream, nor by one below the greatest.
        """
        self.settle()
        last = self.own.last
        self._begin(number)
        self.own.add(number)
        if self.pass_seen is not None:
            self.pass_seen.add(number)
        if count == "rejected":
            self.rejected.add(number)
        self.count(count)
        self._expect_next()
        if last is None or number <= last + 1:
            return []
        return self.missing(last + 1, number - 1)

    def missing(self, low: int, high: int) -> list[tuple[int, int]]:
        """Return the ranges of [low, high] that no writer is known to have put into Kafka."""
        self.settle()
        return [hole for first, last in self.own.missing(low, high) for hole in self.others.missing(first, last)]

    def holes(self) -> list[tuple[int, int]]:
        """Return the ranges that are missing between the first id of the stream (or file) and the last."""
        self.settle()
        first = self.start_id if self.pass_seen is None and self.start_id is not None else 0
        return [hole for low, high in self.own.gaps() for hole in self.others.missing(max(low, first), high)]

    def begin_at_first(self) -> None:
        """Let the stream begin at the lowest id taken: what is missing behind it is a hole."""
        self.settle()
        first = next(iter(self.own), None)
        if first is not None:
            self.start_id = first[0]
            self.is_dirty = True

    def _begin(self, number: int) -> None:
        if self.start_id is None:
            self.start_id = number

    def count(self, what: str, number: int = 1) -> None:
        """Count received events under one of `COUNTS`."""
        self.counts["received"] += number
        self.counts[what] += number
        self.is_dirty = True

    def fold(self, number: int, *, is_rejected: bool = False) -> None:
        """Take in an id found in the log behind the last snapshot."""
        self.settle()
        self._begin(number)
        if is_rejected:
            self.rejected.add(number)
        if number not in self.own:
            self.own.add(number)
            self.count("rejected" if is_rejected else "delivered")
        self._expect_next()

    def _expect_next(self) -> None:
        # While a file is read again its ids are compared one by one: only then can those sent earlier be told.
        last = self.own.last
        follows = -1 if last is None else last + 1
        beyond = self.others.last
        is_free = (beyond is None or beyond < follows) and (self.pass_seen is None or follows - 1 in self.pass_seen)
        self.expected = follows if is_free else -1

    def snapshot(self, now_us: int, *, is_closed: bool = False) -> dict[str, Any]:
        """Return the value of crypto.ledger for this stream; `closed`: this writer left no tail to be read."""
        self.settle()
        self.is_dirty = False
        ranges = [list(pair) for pair in self.own]
        return {
            "v": 1, "market": self.market, "symbol": self.symbol, "stream": self.stream, "writer": self.writer,
            "seen": [] if self.is_tick else ranges, **({"buckets": ranges} if self.is_tick else {}),
            "offsets": dict(self.offsets), "dlq_offset": self.dlq_offset, "start_id": self.start_id,
            "counts": dict(self.counts), "closed": is_closed, "updated_at_us": now_us,
        }  # fmt: skip

    def restore(self, value: dict[str, Any]) -> None:
        """Take over this writer's own snapshot."""
        self.own.update(map(tuple, value.get("buckets" if self.is_tick else "seen", [])))
        self.counts.update({name: int(value["counts"].get(name, 0)) for name in COUNTS})
        self.offsets = {str(part): int(offset) for part, offset in value["offsets"].items()}
        self.dlq_offset = int(value.get("dlq_offset", 0))
        self.start_id = value.get("start_id", self.start_id)
        self._expect_next()

    def learn(self, value: dict[str, Any]) -> None:
        """Take over another writer's snapshot of the same stream."""
        self.others.update(map(tuple, value.get("buckets" if self.is_tick else "seen", [])))
        self._expect_next()


def ledger_key(market: str, symbol: str, stream: str, writer: str) -> str:
    """Return the key of a snapshot in crypto.ledger."""
    return f"{market}/{symbol}/{stream}/{writer}"


class Gap(msgspec.Struct):
    """A range of ids that the exchange has sent and we have not; the value of crypto.gaps."""

    market: str
    symbol: str
    stream: str
    first_id: int
    last_id: int
    state: str
    detected_at_us: int
    closed_at_us: int | None = None
    filled_ids: int = 0
    reason: str = ""
    source: str = ""
    v: int = 1

    @property
    def name(self) -> str:
        """Return the key of this gap in crypto.gaps."""
        return f"{self.market}/{self.symbol}/{self.stream}/{self.first_id}"

    @property
    def size(self) -> int:
        """Return how many ids are missing, or were."""
        return self.last_id - self.first_id + 1


def has_dense_ids(market: str, stream: str) -> bool:
    """Return whether an id that is skipped was surely lost.

    USD-M and COIN-M single trades leave out ids of fills outside the market (binance-public-data #378).
    """
    return stream == "aggTrade" or (stream == "trade" and market == "spot")
