"""Compare Kafka's trades, gap ledger and dead letters with what was offered.

This is the first step of every check. Every other store is then compared with the events that
Kafka should have: those that were offered, without the ids that a gap explains.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from tickhouse.checks.reconcile import dead_letters, kafka_records, ranges
from tickhouse.checks.reconcile import gap_ledger as ledgers
from tickhouse.checks.reconcile.avro import ValueDecoder
from tickhouse.checks.reconcile.expired import Expired, Identity, Removed
from tickhouse.checks.reconcile.gap_ledger import Ledger
from tickhouse.checks.reconcile.kafka import Ends, TopicScanner
from tickhouse.checks.reconcile.kafka_records import UndecodableRecord
from tickhouse.checks.reconcile.model import CheckedStream, CheckedTrade, parse_event_id
from tickhouse.checks.reconcile.offered_events import OfferedEvents
from tickhouse.checks.reconcile.ranges import Range
from tickhouse.checks.reconcile.store_result import StoreResult
from tickhouse.checks.reconcile.trade_comparison import COMPARE_ALL, ExpectedTrades, Horizon, Row, Seen, compare

TRADES = "crypto.trades"
ENRICHED = "crypto.trades.enriched"
TICKS = "crypto.ticks"
_FOREVER = (1 << 63) - 1
_LIVE_WRITERS = ("live", "backfill")


@dataclass
class KafkaResult:
    """The result of the first step.

    Attributes:
        expected: The trades that every store should hold.
        copies: How often Kafka has each id.
        horizon: Ids that are not compared, because they are later than the checked moment or were
            removed.
        ledger: The gap ledger.
        letters: The dead letters of the producer.
        kafka: The result of the topic itself.
        own: Streams for which Kafka's own copy counts as what was offered.
        is_complete: Whether everything offered is recorded, so that `own` is empty.
        broken: Records that cannot be decoded.
        expired: What retention removed.
        removed: Ids that Kafka had and removed and that no record of the offered events has.
    """

    expected: ExpectedTrades
    copies: Mapping[CheckedStream, Mapping[int, int]]
    horizon: Horizon
    ledger: Ledger
    letters: dead_letters.Letters
    kafka: StoreResult
    own: set[CheckedStream]
    is_complete: bool
    broken: list[UndecodableRecord] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    expired: Expired = field(default_factory=Expired)
    removed: Horizon = COMPARE_ALL


class KafkaTrust:
    """Decide for which streams Kafka's own copy counts as what was offered.

    Those are the streams that no record covers.

    Args:
        truth: What was recorded.
        ledger: Which writer writes which stream.
    """

    def __init__(self, truth: OfferedEvents, ledger: Ledger) -> None:
        self._truth = truth
        self._is_empty = not truth.sources
        self._live = {ledgers.stream_of(value) for value in ledger.writers if value.get("writer") in _LIVE_WRITERS}
        self._claimed = {ledgers.stream_of(value) for value in ledger.writers}

    def __call__(self, key: CheckedStream) -> bool:
        """Return whether an id of this stream that is not recorded counts as offered."""
        if self._is_empty:
            return True
        if key in self._truth.live:
            return False
        if self._truth.left_out and key in self._claimed:
            return True
        return key in self._live or (key in self._claimed and key not in self._truth.trades)


def check(
    topics: TopicScanner,
    decoder: ValueDecoder,
    truth: OfferedEvents,
    first_ends: Ends,
    limit: int,
    *,
    removals: Iterable[Removed] = (),
) -> KafkaResult:
    """Read Kafka and compare it with what was offered.

    Args:
        topics: Kafka.
        decoder: Reads the values.
        truth: What was offered.
        first_ends: Ends of `crypto.trades` when the check began. Where Kafka's own copy counts, it
            counts up to there.
        limit: Examples per kind of fault.
        removals: What retention removed from the stores.

    Raises:
        StoreUnavailable: Kafka or the registry does not answer.
    """
    ledger = ledgers.read(topics.scan("crypto.ledger"), topics.scan("crypto.gaps"))
    dead = dead_letters.read(topics.scan("dlq.producer"))
    ends = topics.ends(TRADES)
    builder = ExpectedTradesBuilder(truth, KafkaTrust(truth, ledger), first_ends)
    broken: list[UndecodableRecord] = []
    rows = kafka_records.trade_rows(topics.scan(TRADES, ends), decoder, len(ends), broken)
    placed = [one.with_offsets(topics.offsets_at(TRADES, ends, one.arrived_before_ms)) for one in removals]
    expired = Expired(ends, ledger.seen(), placed, _begins_of_enriched(topics, decoder))
    base = compare_kafka(rows, builder, ledger, dead, StoreResult("kafka", limit=limit), expired=expired)
    base.broken = broken
    _note_retention(ends, base.kafka)
    return base


def _begins_of_enriched(topics: TopicScanner, decoder: ValueDecoder) -> dict[int, Identity]:
    """Return the first event of each enriched partition from which Kafka has removed records."""
    ends = {partition: bounds for partition, bounds in topics.ends(ENRICHED).items() if bounds[0] > 0}
    rows = kafka_records.trade_rows(topics.first(ENRICHED, ends), decoder, len(ends), [])
    return {row.place[1]: (row.trade.key, row.trade.trade_id) for row in rows}


def compare_kafka(
    rows: Iterable[Row],
    builder: ExpectedTradesBuilder,
    ledger: Ledger,
    dead: dead_letters.Letters,
    result: StoreResult,
    *,
    expired: Expired | None = None,
) -> KafkaResult:
    """Compare Kafka's rows with what was offered (the pure part of `check`)."""
    expired = expired or Expired()
    truth = builder.truth
    explained = ledger.gap_ranges("open", "unfillable")
    expected = ExpectedTrades(builder.expected)
    exempted: dict[CheckedStream, set[int]] = {}

    def exempt(key: CheckedStream, missing: list[int]) -> set[int]:
        exempted[key] = {number for number in missing if ranges.contains(explained.get(key, []), number)}
        return exempted[key]

    horizon = Horizon(live_horizon(truth))
    watched = builder.watch(expired.watch(rows))
    seen = compare(watched, expected, result, exempt=exempt, horizon=horizon, expired=expired.in_log)
    removed = _removed(expired, seen, dead, expected)
    return KafkaResult(
        expected=without(expected, exempted),
        copies=seen.copies,
        horizon=Horizon(_merge(builder.beyond(seen), removed)),
        ledger=ledger,
        letters=dead,
        kafka=result,
        own=builder.own,
        is_complete=not builder.own and not truth.left_out,
        expired=expired,
        removed=Horizon(removed),
    )


def _removed(
    expired: Expired, seen: Seen, dead: dead_letters.Letters, expected: ExpectedTrades
) -> dict[CheckedStream, list[Range]]:
    """Return the ids that Kafka removed and no record has; a store may or may not have them."""
    rejected, removed = rejected_ids(dead.reasons), {}
    for key in expired.streams():
        known = {*seen.copies.get(key, ()), *rejected.get(key, ()), *expected.trades.get(key, ())}
        removed[key] = expired.from_log(key, ranges.of_ids(known))
    return removed


def _merge(
    first: Mapping[CheckedStream, list[Range]], second: Mapping[CheckedStream, list[Range]]
) -> dict[CheckedStream, list[Range]]:
    return {key: ranges.merged([*first.get(key, []), *second.get(key, [])]) for key in first.keys() | second.keys()}


class ExpectedTradesBuilder:
    """Adds events that only Kafka has to the recorded ones, while Kafka's rows are read.

    Args:
        truth: What was recorded; it is not changed.
        trusted: Returns whether Kafka's own copy counts for a stream.
        first_ends: In those streams, later offsets are beyond the checked moment.
    """

    def __init__(self, truth: OfferedEvents, trusted: KafkaTrust, first_ends: Ends) -> None:
        self.truth = truth
        self.expected: dict[CheckedStream, dict[int, CheckedTrade]] = dict(truth.trades)
        self.own: set[CheckedStream] = set()
        self._trusted = trusted
        self._ends = first_ends
        self._late: dict[CheckedStream, set[int]] = {}

    def watch(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Yield the rows; add each trade of a trusted stream to the expected ones first."""
        for row in rows:
            trade = row.trade
            if trade.trade_id in self.expected.get(trade.key, {}) or not self._trusted(trade.key):
                yield row
            elif row.place[2] < self._ends.get(row.place[1], (0, 0))[1]:
                self._add_expected(trade)
                yield row
            else:
                self._late.setdefault(trade.key, set()).add(trade.trade_id)

    def _add_expected(self, trade: CheckedTrade) -> None:
        if trade.key not in self.own:
            self.own.add(trade.key)
            self.expected[trade.key] = dict(self.expected.get(trade.key, {}))
        self.expected[trade.key][trade.trade_id] = trade

    def beyond(self, seen: Seen) -> dict[CheckedStream, list[Range]]:
        """Return the ids that are later than the checked moment, by stream."""
        beyond = live_horizon(self.truth)
        for key in self.own | self._late.keys():
            late = ranges.of_ids(self._late.get(key, ()))
            last = max(self.expected.get(key, {}), default=-1)
            beyond[key] = ranges.merged([*late, (last + 1, _FOREVER)])
        return beyond


def live_horizon(truth: OfferedEvents) -> dict[CheckedStream, list[Range]]:
    """Return the ids that a running exchange sends after its record was read, by stream."""
    return {key: [(last + 1, _FOREVER)] for key, last in truth.live.items()} if truth.is_running else {}


def without(expected: ExpectedTrades, exempted: Mapping[CheckedStream, set[int]]) -> ExpectedTrades:
    """Return the expected trades without the exempted ids."""
    if not any(exempted.values()):
        return expected
    return ExpectedTrades(
        {
            key: {number: trade for number, trade in trades.items() if number not in exempted.get(key, ())}
            for key, trades in expected.trades.items()
        },
        expected.shares,
    )


def _note_retention(ends: Ends, result: StoreResult) -> None:
    gone = {partition: low for partition, (low, _) in ends.items() if low > 0}
    if gone:
        result.notes.append(f"Kafka's retention removed the records before these offsets (by partition): {gone}")


def rejected_ids(keys: Iterable[str]) -> dict[CheckedStream, set[int]]:
    """Return the ids in the keys of dead letters, by stream; a key that is a hash has none."""
    found: dict[CheckedStream, set[int]] = {}
    for text in keys:
        if not text.startswith("sha256:"):
            try:
                key, number = parse_event_id(text)
            except ValueError:
                continue
            found.setdefault(key, set()).add(number)
    return found
