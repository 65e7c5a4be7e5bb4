"""Compare the trades of a store with those that it should hold, row by row."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from itertools import chain
from typing import NamedTuple

from tickhouse.checks.reconcile import ranges
from tickhouse.checks.reconcile.model import HASH_MODULUS, CheckedStream, CheckedTrade, checksum, plain
from tickhouse.checks.reconcile.ranges import Range
from tickhouse.checks.reconcile.store_result import StoreResult

Trades = Mapping[CheckedStream, Mapping[int, CheckedTrade]]
Minute = tuple[CheckedStream, int]


class Row(NamedTuple):
    """A trade as a store holds it.

    Attributes:
        trade: The trade.
        place: Topic, partition and offset.
        fault: What is wrong with the row itself; empty when nothing is.
    """

    trade: CheckedTrade
    place: tuple[str, int, int]
    fault: str = ""


@dataclass
class Seen:
    """The rows read so far: the copies of each id, and the order-free sum of each minute."""

    copies: dict[CheckedStream, dict[int, int]] = field(default_factory=lambda: defaultdict(dict))
    sums: dict[Minute, int] = field(default_factory=lambda: defaultdict(int))


@dataclass
class ExpectedTrades:
    """The trades that a store should hold, by stream and id.

    Attributes:
        shares: What each trade adds to the checksums, as far as it was asked for; the stores are
            compared one after the other, and md5 runs once per trade.
    """

    trades: Trades
    shares: dict[CheckedStream, dict[int, int]] = field(default_factory=lambda: defaultdict(dict))

    def share(self, trade: CheckedTrade) -> int:
        """Return the checksum of one of these trades."""
        shares = self.shares[trade.key]
        number = trade.trade_id
        if number not in shares:
            shares[number] = checksum(trade)
        return shares[number]

    @cached_property
    def sums(self) -> dict[Minute, int]:
        """Return the order-free sum of every stream and minute."""
        sums: dict[Minute, int] = defaultdict(int)
        for trades in self.trades.values():
            for trade in trades.values():
                sums[trade.key, trade.minute_us] += self.share(trade)
        return sums

    @property
    def count(self) -> int:
        """Return the number of trades."""
        return sum(map(len, self.trades.values()))

    @cached_property
    def hash(self) -> int:
        """Return the order-free hash of all trades."""
        return sum(self.sums.values()) % HASH_MODULUS

    def each(self) -> Iterator[CheckedTrade]:
        """Yield every trade."""
        return chain.from_iterable(trades.values() for trades in self.trades.values())

    def find(self, trade: CheckedTrade) -> CheckedTrade | None:
        """Return the trade that should be there under the same id."""
        return self.trades.get(trade.key, {}).get(trade.trade_id)


Repeat = Callable[[Row, int], str]
Exempt = Callable[[CheckedStream, list[int]], set[int]]


class Horizon:
    """The ids that are not compared: a running exchange sends more while its stores are read.

    Args:
        beyond: Ids that are not compared, as merged ranges, by stream.
    """

    def __init__(self, beyond: Mapping[CheckedStream, list[Range]] | None = None) -> None:
        self._beyond = beyond or {}

    def excludes(self, key: CheckedStream, low: int, high: int | None = None) -> bool:
        """Return whether any id from `low` to `high` (by default `low` alone) is not compared."""
        span = (low, low if high is None else high)
        return bool(self._beyond.get(key)) and ranges.subtract([span], self._beyond[key]) != [span]

    def compared(self, key: CheckedStream, spans: list[Range]) -> list[Range]:
        """Return the part of merged `spans` that is compared."""
        return ranges.subtract(spans, self._beyond.get(key, []))


COMPARE_ALL = Horizon()


def allowed_repeat(row: Row, copies: int) -> str:
    """Accept any repeat: delivery to Kafka is at least once, and its readers upsert."""
    return ""


def exempt_nothing(key: CheckedStream, missing: list[int]) -> set[int]:
    """Exempt no id."""
    return set()


def compare(
    rows: Iterable[Row],
    expected: ExpectedTrades,
    result: StoreResult,
    *,
    repeat: Repeat = allowed_repeat,
    exempt: Exempt = exempt_nothing,
    horizon: Horizon = COMPARE_ALL,
    expired: Exempt = exempt_nothing,
) -> Seen:
    """Compare rows with the expected trades and write what differs into `result`.

    Args:
        rows: Every row of the store, in any order, repeats included.
        expected: What should be there.
        result: Receives counts, faults, examples and the order-free hashes of the distinct ids.
        repeat: Called with a row whose id was seen before, and the number of copies with this one.
            Returns the fault, or "" if the repeat is allowed.
        exempt: Called with a stream and its missing ids after all rows were read. Returns those
            that a gap explains.
        horizon: Ids that are not compared.
        expired: Called like `exempt` with what is still missing. Returns those that retention
            removed.
    """
    seen = Seen()
    result.hash = result.hash_all = 0
    wrong: set[tuple[CheckedStream, int]] = set()
    for row in rows:
        result.count += 1
        truth = expected.find(row.trade)
        if truth is None and horizon.excludes(row.trade.key, row.trade.trade_id):
            result.ahead += 1
        elif truth == row.trade and not row.fault and truth.trade_id not in seen.copies[truth.key]:
            seen.copies[truth.key][truth.trade_id] = 1
            _add_hash(truth, expected.share(truth), seen, result)
        else:
            _count_copy(row, seen, result, repeat)
            _compare_values(row, truth, wrong, result)
    _compare_missing(seen, expected, result, exempt, expired)
    result.distinct = sum(map(len, seen.copies.values()))
    result.delivered = result.distinct - len(wrong)
    result.minutes_differing = differing_minutes(seen.sums, expected.sums, result.limit)
    return seen


def _count_copy(row: Row, seen: Seen, result: StoreResult, repeat: Repeat) -> None:
    trade = row.trade
    copies = seen.copies[trade.key].get(trade.trade_id, 0) + 1
    seen.copies[trade.key][trade.trade_id] = copies
    if copies == 1:
        _add_hash(trade, checksum(trade), seen, result)
    elif reason := repeat(row, copies):
        result.add_fault("duplicate", trade.event_id, f"{reason} at {place_text(row.place)}")
    else:
        result.known_duplicates += 1


def _add_hash(trade: CheckedTrade, share: int, seen: Seen, result: StoreResult) -> None:
    seen.sums[trade.key, trade.minute_us] += share
    result.hash_all = ((result.hash_all or 0) + share) % HASH_MODULUS
    if not trade.is_sentinel:
        result.hash = ((result.hash or 0) + share) % HASH_MODULUS


def _compare_values(
    row: Row, truth: CheckedTrade | None, wrong: set[tuple[CheckedStream, int]], result: StoreResult
) -> None:
    identity = (row.trade.key, row.trade.trade_id)
    fault = row.fault or difference(row.trade, truth)
    if fault and identity not in wrong:
        wrong.add(identity)
        result.add_fault("mismatch", row.trade.event_id, f"{fault} at {place_text(row.place)}")


def _compare_missing(
    seen: Seen, expected: ExpectedTrades, result: StoreResult, exempt: Exempt, expired: Exempt
) -> None:
    for key, trades in expected.trades.items():
        absent = sorted(trades.keys() - seen.copies.get(key, {}).keys())
        exempted = exempt(key, absent) if absent else set()
        unexplained = [number for number in absent if number not in exempted]
        removed = expired(key, unexplained) if unexplained else set()
        missing = [number for number in unexplained if number not in removed]
        result.in_gaps += len(exempted)
        result.expired += len(removed)
        for number in missing[: result.limit]:
            traded = minute_text(trades[number].time_us)
            result.add_fault("missing", trades[number].event_id, f"offered with trade time {traded}, not in the store")
        result.faults["missing"] += len(missing[result.limit :])


def difference(found: CheckedTrade, truth: CheckedTrade | None) -> str:
    """Return as text how a trade differs from the expected one, or "" if it does not."""
    if found == truth:
        return ""
    if truth is None:
        return "the exchange never offered this id"
    names = ("id", "first id", "last id", "price", "qty", "side", "trade time us")
    pairs = zip(names, truth[1:], found[1:], strict=True)
    differing = [(name, wanted, was) for name, wanted, was in pairs if wanted != was]
    return "; ".join(
        f"{name}: expected {_text(name, wanted)}, was {_text(name, was)}" for name, wanted, was in differing
    )


def _text(name: str, value: object) -> str:
    return plain(value) if name in ("price", "qty") and isinstance(value, int) else str(value)


def differing_minutes(sums: Mapping[Minute, int], wanted: Mapping[Minute, int], limit: int) -> list[str]:
    """Return up to `limit` minutes whose order-free sums differ, earliest first.

    Each is "market:SYMBOL:stream minute".
    """
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
    """Return a place as text: topic-partition@offset."""
    return f"{place[0]}-{place[1]}@{place[2]}"


class LakeRepeats:
    """Decides which repeats in the lake are faults.

    No Kafka offset may be stored twice, and no id more often than Kafka has it.

    Args:
        kafka: How many copies of each id Kafka holds.
        begins: First offset that each partition still has. Kafka has removed its copies of the rows
            before it.
    """

    def __init__(
        self, kafka: Mapping[CheckedStream, Mapping[int, int]], begins: Mapping[int, int] | None = None
    ) -> None:
        self._kafka, self._begins = kafka, begins or {}
        self._places: set[tuple[str, int, int]] = set()
        self._expired_copies: Counter[tuple[CheckedStream, int]] = Counter()

    def watch(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Yield the rows, and remember the Kafka offset of each row once it has been compared."""
        for row in rows:
            if self._has_expired_in_kafka(row):
                self._expired_copies[row.trade.key, row.trade.trade_id] += 1
            yield row
            self._places.add(row.place)

    def _has_expired_in_kafka(self, row: Row) -> bool:
        return row.place[2] < self._begins.get(row.place[1], 0)

    def __call__(self, row: Row, copies: int) -> str:
        """Return what is wrong with a repeat, or ""."""
        if row.place in self._places:
            return "the same Kafka offset is stored twice"
        in_kafka = self._kafka.get(row.trade.key, {}).get(row.trade.trade_id, 0)
        in_kafka += self._expired_copies[row.trade.key, row.trade.trade_id]
        return f"stored {copies} times, Kafka has {in_kafka}" if copies > in_kafka else ""
