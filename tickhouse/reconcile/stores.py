"""The stores of the promise beside Kafka itself. A new one is a class with `name` and `check`, and a line in `run`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from tickhouse.reconcile import candles, lake, latest, letters, postgres, ranges, records
from tickhouse.reconcile.avro import Decoder
from tickhouse.reconcile.bars import Bar, BarKey, bars_of
from tickhouse.reconcile.base import ENRICHED, TICKS, Base, rejected_ids
from tickhouse.reconcile.kafka import Ends, Topics
from tickhouse.reconcile.model import Rejection, StreamKey
from tickhouse.reconcile.ranges import Range
from tickhouse.reconcile.records import Broken
from tickhouse.reconcile.trades import LakeRepeats, compare, place_text
from tickhouse.reconcile.truth import Truth
from tickhouse.reconcile.verdict import Verdict


@dataclass
class Judged:
    """What a store is held against.

    `base.expected` are the trades it should hold, `bars` the candles of these; `limit` is how many examples to keep.
    """

    base: Base
    truth: Truth
    limit: int = 5
    broken_ticks: list[Broken] = field(default_factory=list)

    @cached_property
    def bars(self) -> dict[BarKey, Bar]:
        """Return the candles of the expected trades."""
        return bars_of(self.base.expected.each())

    @cached_property
    def rejections(self) -> list[Rejection]:
        """Return the rejections that must be there: what no gap explains, and the possible ones found."""
        explained, found = self.base.ledger.gap_ranges("open", "unfillable"), self.base.letters.reasons
        required = [one for one in self.truth.rejections if one.key in found or not _in(explained, one)]
        return required + [one for one in self.truth.possible if one.key in found]

    @cached_property
    def sentinels(self) -> int:
        """Return how many expected trades are sentinels: in every store of trades, in no candle."""
        return sum(trade.is_sentinel for trade in self.base.expected.each())


def _in(gaps: Mapping[StreamKey, list[Range]], rejection: Rejection) -> bool:
    ids = rejected_ids([rejection.key])
    return any(ranges.contains(gaps.get(key, []), number) for key, numbers in ids.items() for number in numbers)


class Store(Protocol):
    """One store that should hold every event."""

    @property
    def name(self) -> str:
        """Return the name under which the report shows it."""
        ...

    def check(self, judged: Judged) -> Verdict:
        """Read the whole store and hold it against what it should hold.

        Raises:
            StoreUnavailable: It does not answer; the message names it.
        """
        ...


@dataclass(frozen=True)
class EnrichedStore:
    """Topic crypto.trades.enriched: at least once, so repeats are known duplicates."""

    topics: Topics
    decoder: Decoder
    name: str = "enriched"

    def check(self, judged: Judged) -> Verdict:
        """Compare every enriched trade, its derived fields too."""
        verdict = Verdict(self.name, limit=judged.limit)
        ends, broken = self.topics.ends(ENRICHED), list[Broken]()
        scan = self.topics.scan(ENRICHED, ends)
        rows = records.trade_rows(scan, self.decoder, len(ends), broken, records.enriched_fault)
        compare(rows, judged.base.expected, verdict, horizon=judged.base.horizon)
        for one in broken:
            verdict.blame("mismatch", place_text(one.record.place), f"{one.reason}: {one.detail}")
        return verdict


@dataclass(frozen=True)
class LakeStore:
    """Bronze trades of a lake ref: each Kafka offset once, each id no more often than Kafka has it."""

    lake: lake.Lake
    name: str = "lake"

    def check(self, judged: Judged) -> Verdict:
        """Compare every row that a manifest names."""
        verdict = Verdict(self.name, limit=judged.limit)
        bronze, problems = self.lake.bronze("trades"), list[str]()
        repeats = LakeRepeats(judged.base.copies)
        rows = repeats.watch(lake.trade_rows(self.lake, bronze, problems))
        compare(rows, judged.base.expected, verdict, repeat=repeats, horizon=judged.base.horizon)
        for problem in problems:
            verdict.blame("mismatch", problem.split(" ", 1)[0], problem)
        verdict.notes.append(f"{len(bronze.files)} files named by manifests")
        return verdict


@dataclass(frozen=True)
class PostgresStore:
    """market.candles_1m and market.trade_ranges."""

    dsn: str
    name: str = "postgres"

    def check(self, judged: Judged) -> Verdict:
        """Compare every column of every bar, and the ids that were applied."""
        verdict = Verdict(self.name, limit=judged.limit)
        base = judged.base
        with postgres.connected(self.dsn) as connection:
            candles.compare(postgres.bars(connection), judged.bars, verdict, horizon=base.horizon)
            candles.compare_applied(postgres.applied(connection), base.expected, verdict, horizon=base.horizon)
        verdict.delivered += judged.sentinels
        verdict.notes.append(f"{judged.sentinels} sentinels are applied and, rightly, in no candle")
        return verdict


@dataclass(frozen=True)
class RedisStore:
    """The hashes of latest trades."""

    dsn: str
    name: str = "redis"

    def check(self, judged: Judged) -> Verdict:
        """Compare the last trade and its minute's average of every stream."""
        verdict = Verdict(self.name, limit=judged.limit)
        wanted = latest.expected_hashes(judged.base.expected.each())
        latest.compare(latest.read(self.dsn), wanted, verdict, horizon=judged.base.horizon)
        return verdict


def check_ticks(topics: Topics, decoder: Decoder, judged: Judged) -> tuple[Verdict, set[str]]:
    """Hold the ids in crypto.ticks against the truth; the producer may leave some out and counts those.

    Returns:
        The verdict, and the distinct event ids.
    """
    verdict = Verdict("ticks", limit=judged.limit)
    ends = topics.ends(TICKS)
    found: set[str] = set()
    for event, fault in records.tick_ids(topics.scan(TICKS, ends), decoder, len(ends), judged.broken_ticks):
        verdict.count += 1
        verdict.known_duplicates += event in found
        found.add(event)
        if fault:
            verdict.blame("mismatch", event, fault)
    compare_ticks(found, judged, verdict)
    return verdict, found


def compare_ticks(found: set[str], judged: Judged, verdict: Verdict) -> None:
    """Compare tick ids with the truth where it is complete: a running exchange records no ticks."""
    verdict.distinct = verdict.delivered = len(found)
    if not judged.truth.ticks or judged.truth.live or judged.base.own:
        verdict.notes.append("counted only: no complete record of the ticks that were offered")
        return
    offered = {
        f"binance:{key.market}:{key.symbol}:{key.stream}:{number}"
        for key, numbers in judged.truth.ticks.items()
        for number in numbers
    }
    missing, sampled_out = offered - found, judged.base.ledger.total("sampled_out")
    if len(missing) > sampled_out:
        example = min(missing)
        detail = f"{len(missing)} ticks are not in the topic, {sampled_out} were sampled out"
        verdict.blame("missing", example, detail, len(missing) - sampled_out)
    for event in sorted(found - offered):
        verdict.blame("mismatch", event, "the exchange never offered this id")


def check_lake_ticks(store: lake.Lake, kafka: set[str], first_ends: Ends, judged: Judged) -> Verdict:
    """Hold bronze ticks against the topic: each Kafka offset once, and every id that was there when the check began.

    Args:
        store: The lake.
        kafka: Distinct ids of the topic.
        first_ends: Ends of the topic when the check began.
        judged: For the number of examples.
    """
    verdict = Verdict("lake ticks", limit=judged.limit)
    bronze, problems = store.bronze("ticks"), list[str]()
    places = [(event, place) for event, place in lake.tick_ids(store, bronze, problems)]
    found = {event for event, _ in places}
    verdict.count, verdict.distinct, verdict.delivered = len(places), len(found), len(found & kafka)
    wanted = sum(high - low for low, high in first_ends.values())
    stored = {place for _, place in places}
    early = sum(place[2] < first_ends.get(place[1], (0, 0))[1] for place in stored)
    for problem in problems:
        verdict.blame("mismatch", problem.split(" ", 1)[0], problem)
    for event in sorted(found - kafka):
        verdict.blame("mismatch", event, "in the lake and not in Kafka")
    for event, place in repeated(places):
        verdict.blame("duplicate", event, f"the same Kafka offset is stored twice at {place_text(place)}")
    if early + len(judged.broken_ticks) < wanted:
        lacking = wanted - early - len(judged.broken_ticks)
        verdict.blame("missing", min(kafka - found, default=TICKS), f"{lacking} records are not in the lake", lacking)
    return verdict


def repeated(places: Iterable[tuple[str, tuple[str, int, int]]]) -> Iterator[tuple[str, tuple[str, int, int]]]:
    """Yield the rows whose place was seen before."""
    seen: set[tuple[str, int, int]] = set()
    for event, place in places:
        if place in seen:
            yield event, place
        seen.add(place)


def check_dead_letters(judged: Judged) -> Verdict:
    """Hold dlq.producer against the expected rejections."""
    verdict = Verdict("dlq.producer", limit=judged.limit)
    base = judged.base
    letters.compare_rejections(
        base.letters,
        judged.rejections,
        verdict,
        is_complete=base.is_complete,
        has_ticks=not judged.truth.live,
    )
    return verdict


def check_broken(topics: Topics, judged: Judged, dsn: str) -> Verdict:
    """Hold dlq.spark against the records that cannot be decoded.

    Args:
        topics: Kafka.
        judged: The records.
        dsn: PostgreSQL, to be asked which letters were sent again if that matters.
    """
    verdict = Verdict("dlq.spark", limit=judged.limit)
    records = list(topics.scan("dlq.spark"))

    def sent_again() -> frozenset[str]:
        with postgres.connected(dsn) as connection:
            places = postgres.redriven(connection, "dlq.spark")
        return frozenset(
            (record.key or b"").decode("utf-8", "replace") for record in records if record.place[1:] in places
        )

    broken = [*judged.base.broken, *judged.broken_ticks]
    letters.compare_broken(letters.read(records), broken, verdict, sent_again)
    return verdict
