"""Check the stores that must hold every event, except Kafka itself.

To add a store, write a class with `name` and `check`, and add it to `run.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from common.clients.postgres import read_only
from common.settings import Settings
from tickhouse.checks.reconcile import (
    bar_comparison,
    bronze_rows,
    dead_letters,
    geode,
    kafka_records,
    lake_bronze,
    latest_prices,
    neo4j,
    postgres,
    ranges,
)
from tickhouse.checks.reconcile.avro import ValueDecoder
from tickhouse.checks.reconcile.bars import BarKey, MinuteBar, bars_of
from tickhouse.checks.reconcile.expired import FindExpired
from tickhouse.checks.reconcile.kafka import Ends, TopicScanner
from tickhouse.checks.reconcile.kafka_check import ENRICHED, TICKS, KafkaResult, rejected_ids
from tickhouse.checks.reconcile.kafka_records import UndecodableRecord
from tickhouse.checks.reconcile.model import CheckedStream, Rejection
from tickhouse.checks.reconcile.offered_events import OfferedEvents
from tickhouse.checks.reconcile.ranges import Range
from tickhouse.checks.reconcile.store_result import StoreResult
from tickhouse.checks.reconcile.trade_comparison import LakeRepeats, compare, place_text


@dataclass
class CheckContext:
    """What a store is compared with.

    Attributes:
        base: The result of the check of Kafka; a store should hold the trades in `base.expected`.
        truth: What was offered.
        limit: How many examples of each kind of fault to keep.
        broken_ticks: Ticks that cannot be decoded; filled by `check_ticks`.
    """

    base: KafkaResult
    truth: OfferedEvents
    limit: int = 5
    broken_ticks: list[UndecodableRecord] = field(default_factory=list)

    def expired(self, store: str) -> FindExpired:
        """Return a function that finds the ids that retention removed among those that a store
        lacks.
        """
        return self.base.expired.in_store(store, self.base.expected)

    @cached_property
    def bars(self) -> dict[BarKey, MinuteBar]:
        """Return the candles of the expected trades."""
        return bars_of(self.base.expected.each())

    @cached_property
    def rejections(self) -> list[Rejection]:
        """Return the rejections that must be in the dead letters.

        A recorded rejection may be missing only if a gap explains that. A possible rejection
        counts only if it has a dead letter.
        """
        gaps, letters = self.base.ledger.gap_ranges("open", "unfillable"), self.base.letters.reasons
        required = [one for one in self.truth.rejections if one.key in letters or not _is_in_gap(one, gaps)]
        return required + [one for one in self.truth.possible if one.key in letters]

    @cached_property
    def sentinels(self) -> int:
        """Return how many expected trades are sentinels: stored as trades, and in no candle."""
        return sum(trade.is_sentinel for trade in self.base.expected.each())


def _is_in_gap(rejection: Rejection, gaps: Mapping[CheckedStream, list[Range]]) -> bool:
    ids = rejected_ids([rejection.key])
    return any(ranges.contains(gaps.get(key, []), number) for key, numbers in ids.items() for number in numbers)


class StoreCheck(Protocol):
    """One store that should hold every event."""

    @property
    def name(self) -> str:
        """Return the name under which the report shows it."""
        ...

    def check(self, context: CheckContext) -> StoreResult:
        """Read the whole store and compare it with what it should hold.

        Raises:
            StoreUnavailable: The store does not answer; the message names it.
        """
        ...


@dataclass(frozen=True)
class EnrichedStore:
    """Topic crypto.trades.enriched. Delivery is at least once, so repeats are known duplicates."""

    topics: TopicScanner
    decoder: ValueDecoder
    name: str = "enriched"

    def check(self, context: CheckContext) -> StoreResult:
        """Compare every enriched trade, including its derived fields."""
        result = StoreResult(self.name, limit=context.limit)
        ends, broken = self.topics.ends(ENRICHED), list[UndecodableRecord]()
        scan = self.topics.scan(ENRICHED, ends)
        rows = kafka_records.trade_rows(scan, self.decoder, len(ends), broken, kafka_records.enriched_fault)
        find = context.base.expired.in_enriched(context.base.copies)
        compare(rows, context.base.expected, result, horizon=context.base.horizon, expired=find)
        for bad in broken:
            result.add_fault("mismatch", place_text(bad.record.place), f"{bad.reason}: {bad.detail}")
        return result


@dataclass(frozen=True)
class LakeStore:
    """Bronze trades of a lake ref.

    Each Kafka offset must be stored once, and each id at most as often as Kafka has it.
    """

    lake: lake_bronze.LakeReader
    name: str = "lake"

    def check(self, context: CheckContext) -> StoreResult:
        """Compare every row of the files that manifests name."""
        result = StoreResult(self.name, limit=context.limit)
        bronze, problems = self.lake.bronze("trades"), list[str]()
        repeats = LakeRepeats(context.base.copies, context.base.expired.begins)
        rows = repeats.watch(bronze_rows.trade_rows(self.lake, bronze, problems))
        base, find = context.base, context.expired(self.name)
        compare(rows, base.expected, result, repeat=repeats, horizon=base.horizon, expired=find)
        for problem in problems:
            result.add_fault("mismatch", problem.split(" ", 1)[0], problem)
        result.notes += [f"{len(bronze.files)} files named by manifests", *bronze.notes()]
        return result


@dataclass(frozen=True)
class PostgresStore:
    """market.candles_1m and market.trade_ranges."""

    dsn: str
    name: str = "postgres"

    def check(self, context: CheckContext) -> StoreResult:
        """Compare every column of every bar, and the ids that were applied."""
        result = StoreResult(self.name, limit=context.limit)
        base = context.base
        with read_only(self.dsn) as connection:
            bar_comparison.compare(
                postgres.bars(connection),
                context.bars,
                result,
                horizon=base.horizon,
                is_expired=lambda minute_us: base.expired.has_minute(self.name, minute_us),
                removed=base.removed,
            )
            bar_comparison.compare_applied(postgres.applied(connection), base.expected, result, horizon=base.horizon)
        result.delivered += context.sentinels
        result.notes.append(f"{context.sentinels} sentinels are applied and, as expected, in no candle")
        return result


@dataclass(frozen=True)
class RedisStore:
    """The hashes of latest trades."""

    dsn: str
    name: str = "redis"

    def check(self, context: CheckContext) -> StoreResult:
        """Compare the last trade of every stream and its minute's average."""
        result = StoreResult(self.name, limit=context.limit)
        wanted = latest_prices.expected_hashes(context.base.expected.each())
        latest_prices.compare(latest_prices.read(self.dsn), wanted, result, horizon=context.base.horizon)
        return result


@dataclass(frozen=True)
class GeodeStore:
    """The rolling 24-hour statistics, and the minutes of which they are made."""

    settings: Settings
    name: str = "geode"

    def check(self, context: CheckContext) -> StoreResult:
        """Compare the statistics of every stream, and each minute of their windows."""
        result = StoreResult(self.name, limit=context.limit)
        geode.compare(geode.read(self.settings), context.bars, result, horizon=context.base.horizon)
        result.notes.append("statistics and minutes of the last 24 hours of each stream")
        return result


@dataclass(frozen=True)
class GraphStore:
    """The hours of the graph, compared with the commit of the lake that it was loaded from."""

    settings: Settings
    name: str = "neo4j"

    def check(self, context: CheckContext) -> StoreResult:
        """Compare every hour; a graph that was never loaded has nothing to compare."""
        result = StoreResult(self.name, limit=context.limit)
        found = neo4j.read(self.settings)
        if not found.commit_id:
            result.notes.append("the graph was never loaded: tickhouse graph sync")
            return result
        lake = lake_bronze.connect(self.settings, found.commit_id)
        neo4j.compare(found, neo4j.candle_hours(lake), result)
        result.notes.append(f"hours of commit {found.commit_id[:12]}")
        return result


def check_ticks(topics: TopicScanner, decoder: ValueDecoder, context: CheckContext) -> tuple[StoreResult, set[str]]:
    """Compare the ids in crypto.ticks with those offered.

    The producer may sample the ticks; it counts those that it leaves out.

    Returns:
        The result, and the distinct event ids.
    """
    result = StoreResult("ticks", limit=context.limit)
    ends = topics.ends(TICKS)
    seen: set[str] = set()
    for event, fault in kafka_records.tick_ids(topics.scan(TICKS, ends), decoder, len(ends), context.broken_ticks):
        result.count += 1
        result.known_duplicates += event in seen
        seen.add(event)
        if fault:
            result.add_fault("mismatch", event, fault)
    compare_ticks(seen, context, result)
    return result, seen


def compare_ticks(found: set[str], context: CheckContext, result: StoreResult) -> None:
    """Compare tick ids with those offered, or only count them when those are not all recorded.

    A running exchange does not record its ticks.
    """
    result.distinct = result.delivered = len(found)
    if not context.truth.ticks or context.truth.live or context.base.own:
        result.notes.append("counted only: no complete record of the ticks that were offered")
        return
    offered = {
        f"binance:{key.market}:{key.symbol}:{key.stream}:{number}"
        for key, numbers in context.truth.ticks.items()
        for number in numbers
    }
    missing, sampled_out = offered - found, context.base.ledger.total("sampled_out")
    if len(missing) > sampled_out:
        example = min(missing)
        detail = f"{len(missing)} ticks are not in the topic, {sampled_out} were sampled out"
        result.add_fault("missing", example, detail, len(missing) - sampled_out)
    for event in sorted(found - offered):
        result.add_fault("mismatch", event, "the exchange never offered this id")


def check_lake_ticks(
    store: lake_bronze.LakeReader, kafka: set[str], first_ends: Ends, context: CheckContext
) -> StoreResult:
    """Compare bronze ticks with the topic.

    Each Kafka offset must be stored once, and so must every record that the topic held when the
    check began.

    Args:
        store: The lake.
        kafka: Distinct ids of the topic.
        first_ends: Ends of the topic when the check began.
        context: The ticks that cannot be decoded, and the number of examples.
    """
    result = StoreResult("lake ticks", limit=context.limit)
    bronze, problems = store.bronze("ticks"), list[str]()
    all_places = list(bronze_rows.tick_ids(store, bronze, problems))
    places = [(event, place) for event, place in all_places if place[2] >= first_ends.get(place[1], (0, 0))[0]]
    result.expired = len(all_places) - len(places)  # Kafka has removed its copies
    stored_ids = {event for event, _ in places}
    result.count, result.distinct, result.delivered = len(places), len(stored_ids), len(stored_ids & kafka)
    records_wanted = sum(high - low for low, high in first_ends.values())
    stored_places = {place for _, place in places}
    early = sum(place[2] < first_ends.get(place[1], (0, 0))[1] for place in stored_places)
    for problem in problems:
        result.add_fault("mismatch", problem.split(" ", 1)[0], problem)
    for event in sorted(stored_ids - kafka):
        result.add_fault("mismatch", event, "in the lake and not in Kafka")
    for event, place in repeated(places):
        result.add_fault("duplicate", event, f"the same Kafka offset is stored twice at {place_text(place)}")
    if early + len(context.broken_ticks) < records_wanted:
        lacking = records_wanted - early - len(context.broken_ticks)
        result.add_fault(
            "missing", min(kafka - stored_ids, default=TICKS), f"{lacking} records are not in the lake", lacking
        )
    result.notes += bronze.notes()
    return result


def repeated(places: Iterable[tuple[str, tuple[str, int, int]]]) -> Iterator[tuple[str, tuple[str, int, int]]]:
    """Yield the rows whose place was seen before."""
    seen: set[tuple[str, int, int]] = set()
    for event, place in places:
        if place in seen:
            yield event, place
        seen.add(place)


def check_dead_letters(context: CheckContext) -> StoreResult:
    """Compare dlq.producer with the expected rejections."""
    result = StoreResult("dlq.producer", limit=context.limit)
    base = context.base
    dead_letters.compare_rejections(
        base.letters,
        context.rejections,
        result,
        is_complete=base.is_complete,
        has_ticks=not context.truth.live,
    )
    return result


def check_broken(topics: TopicScanner, context: CheckContext, dsn: str) -> StoreResult:
    """Compare dlq.spark with the records that cannot be decoded.

    Args:
        topics: Kafka.
        context: The records that the checker could not decode.
        dsn: PostgreSQL, which records the letters that were sent again.
    """
    result = StoreResult("dlq.spark", limit=context.limit)
    records = list(topics.scan("dlq.spark"))

    def sent_again() -> frozenset[str]:
        with read_only(dsn) as connection:
            places = postgres.redriven(connection, "dlq.spark")
        return frozenset(
            (record.key or b"").decode("utf-8", "replace") for record in records if record.place[1:] in places
        )

    broken = [*context.base.broken, *context.broken_ticks]
    dead_letters.compare_broken(dead_letters.read(records), broken, result, sent_again)
    return result
