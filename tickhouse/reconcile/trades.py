"""Compare a store of trades with what it should hold, row by row."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from itertools import chain
from typing import NamedTuple

from tickhouse.reconcile import ranges
from tickhouse.reconcile.model import HASH_MODULUS, StreamKey, Trade, checksum, plain
from tickhouse.reconcile.ranges import Range
from tickhouse.reconcile.verdict import Verdict

Trades = Mapping[StreamKey, Mapping[int, Trade]]
Minute = tuple[StreamKey, int]


class Row(NamedTuple):
    """A trade as a store holds it, at `place` (topic, partition, offset); `fault` is what the row itself has wrong."""

    trade: Trade
    place: tuple[str, int, int]
    fault: str = ""


@dataclass
class Seen:
    """What the rows of a store were: copies of each id, order-free sums of each minute."""

    copies: dict[StreamKey, dict[int, int]] = field(default_factory=lambda: defaultdict(dict))
    sums: dict[Minute, int] = field(default_factory=lambda: defaultdict(int))


@dataclass
class Expected:
    """The trades that a store should hold, by stream and id."""

    trades: Trades

    @cached_property
    def sums(self) -> dict[Minute, int]:
        """Return the order-free sum of every stream and minute."""
        sums: dict[Minute, int] = defaultdict(int)
        for trades in self.trades.values():
            for trade in trades.values():
                sums[trade.key, trade.minute_us] += checksum(trade)
        return sums

    @property
    def count(self) -> int:
        """Return the number of trades."""
        return sum(map(len, self.trades.values()))

    @cached_property
    def hash(self) -> int:
        """Return the order-free hash of all trades."""
        return sum(self.sums.values()) % HASH_MODULUS

    def each(self) -> Iterator[Trade]:
        """Yield every trade."""
        return chain.from_iterable(trades.values() for trades in self.trades.values())

    def find(self, trade: Trade) -> Trade | None:
        """Return the trade that should be there under the same id."""
        return self.trades.get(trade.key, {}).get(trade.trade_id)


Repeat = Callable[[Row, int], str]
Excuse = Callable[[StreamKey, list[int]], set[int]]


class Horizon:
    """Which ids are later than what is judged: a running exchange goes on while its stores are read.

    Args:
        beyond: Ids that are not judged, as merged ranges, by stream.
    """

    def __init__(self, beyond: Mapping[StreamKey, list[Range]] | None = None) -> None:
        self._beyond = beyond or {}

    def hides(self, key: StreamKey, low: int, high: int | None = None) -> bool:
        """Return whether any id from `low` to `high` (itself alone by default) is not judged."""
        span = (low, low if high is None else high)
        return bool(self._beyond.get(key)) and ranges.subtract([span], self._beyond[key]) != [span]

    def judged(self, key: StreamKey, spans: list[Range]) -> list[Range]:
        """Return the part of merged `spans` that is judged."""
        return ranges.subtract(spans, self._beyond.get(key, []))


NOW = Horizon()


def allowed_repeat(row: Row, copies: int) -> str:
    """Accept any repeat: delivery to Kafka is at least once, and whoever reads it upserts."""
    return ""


def no_excuse(key: StreamKey, missing: list[int]) -> set[int]:
    """Excuse nothing."""
    return set()


def compare(
    rows: Iterable[Row],
    expected: Expected,
    verdict: Verdict,
    *,
    repeat: Repeat = allowed_repeat,
    excuse: Excuse = no_excuse,
    horizon: Horizon = NOW,
) -> Seen:
    """Hold rows against the expected trades and write what differs into `verdict`.

    Args:
        rows: Every row of the store, in any order, repeats included.
        expected: What should be there.
        verdict: Receives counts, faults, examples and the order-free hashes of the distinct ids.
        repeat: Called with a row whose id was seen before, and how often with this one: a reason, or "" if allowed.
        excuse: Called with a stream and its missing ids after all rows were read: those that an open gap explains.
        horizon: Ids that are not judged.
    """
    seen = Seen()
    verdict.hash = verdict.hash_all = 0
    wrong: set[tuple[StreamKey, int]] = set()
    for row in rows:
        verdict.count += 1
        truth = expected.find(row.trade)
        if truth is None and horizon.hides(row.trade.key, row.trade.trade_id):
            verdict.ahead += 1
            continue
        _count(row, seen, verdict, repeat)
        _judge_values(row, truth, wrong, verdict)
    _judge_missing(seen, expected, verdict, excuse)
    verdict.distinct = sum(map(len, seen.copies.values()))
    verdict.delivered = verdict.distinct - len(wrong)
    verdict.minutes_differing = differing_minutes(seen.sums, expected.sums, verdict.limit)
    return seen


def _count(row: Row, seen: Seen, verdict: Verdict, repeat: Repeat) -> None:
    trade = row.trade
    copies = seen.copies[trade.key].get(trade.trade_id, 0) + 1
    seen.copies[trade.key][trade.trade_id] = copies
    if copies == 1:
        _add_hash(trade, seen, verdict)
    elif reason := repeat(row, copies):
        verdict.blame("duplicate", trade.event_id, f"{reason} at {place_text(row.place)}")
    else:
        verdict.known_duplicates += 1


def _add_hash(trade: Trade, seen: Seen, verdict: Verdict) -> None:
    share = checksum(trade)
    seen.sums[trade.key, trade.minute_us] += share
    verdict.hash_all = ((verdict.hash_all or 0) + share) % HASH_MODULUS
    if not trade.is_sentinel:
        verdict.hash = ((verdict.hash or 0) + share) % HASH_MODULUS


def _judge_values(row: Row, truth: Trade | None, wrong: set[tuple[StreamKey, int]], verdict: Verdict) -> None:
    identity = (row.trade.key, row.trade.trade_id)
    fault = row.fault or difference(row.trade, truth)
    if fault and identity not in wrong:
        wrong.add(identity)
        verdict.blame("mismatch", row.trade.event_id, f"{fault} at {place_text(row.place)}")


def _judge_missing(seen: Seen, expected: Expected, verdict: Verdict, excuse: Excuse) -> None:
    for key, trades in expected.trades.items():
        absent = sorted(trades.keys() - seen.copies.get(key, {}).keys())
        excused = excuse(key, absent) if absent else set()
        missing = [number for number in absent if number not in excused]
        verdict.in_gaps += len(excused)
        for number in missing[: verdict.limit]:
            traded = minute_text(trades[number].time_us)
            verdict.blame("missing", trades[number].event_id, f"offered with trade time {traded}, not in the store")
        verdict.faults["missing"] += len(missing[verdict.limit :])


def difference(found: Trade, truth: Trade | None) -> str:
    """Return in words how a row differs from the truth, or "" if it does not."""
    if found == truth:
        return ""
    if truth is None:
        return "the exchange never offered this id"
    names = ("id", "first id", "last id", "price", "qty", "side", "trade time us")
    was = zip(names, truth[1:], found[1:], strict=True)
    return "; ".join(f"{name}: expected {_text(name, a)}, was {_text(name, b)}" for name, a, b in was if a != b)


def _text(name: str, value: object) -> str:
    return plain(value) if name in ("price", "qty") and isinstance(value, int) else str(value)


def differing_minutes(sums: Mapping[Minute, int], wanted: Mapping[Minute, int], limit: int) -> list[str]:
    """Return up to `limit` minutes whose order-free sums differ, earliest first, as "market:SYMBOL:stream minute"."""
    wrong = sorted(
        (minute, str(key))
        for key, minute in wanted.keys() | sums.keys()
        if (wanted.get((key, minute), 0) - sums.get((key, minute), 0)) % HASH_MODULUS
    )
    return [f"{key} {minute_text(minute)}" for minute, key in wrong[:limit]]


def minute_text(time_us: int) -> str:
    """Return a time in microseconds as ISO 8601, UTC."""
    return datetime.fromtimestamp(time_us // 10**6, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def place_text(place: tuple[str, int, int]) -> str:
    """Return where a row lies: topic-partition@offset."""
    return f"{place[0]}-{place[1]}@{place[2]}"


class LakeRepeats:
    """Decide on repeats in the lake: none of a Kafka offset, and no id more often than Kafka has it.

    Args:
        kafka: How many copies of each id Kafka holds.
    """

    def __init__(self, kafka: Mapping[StreamKey, Mapping[int, int]]) -> None:
        self._kafka = kafka
        self._places: set[tuple[str, int, int]] = set()

    def watch(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Pass rows on, remembering the Kafka offset of each once it was judged."""
        for row in rows:
            yield row
            self._places.add(row.place)

    def __call__(self, row: Row, copies: int) -> str:
        """Return what is wrong with a repeat, or ""."""
        if row.place in self._places:
            return "the same Kafka offset is stored twice"
        in_kafka = self._kafka.get(row.trade.key, {}).get(row.trade.trade_id, 0)
        return f"stored {copies} times, Kafka has {in_kafka}" if copies > in_kafka else ""
