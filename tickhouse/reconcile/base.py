"""The first step of every check: Kafka's trades, the gap ledger and the dead letters against the truth.

Every other store is then held against what Kafka should have: the truth without the ids that an open gap explains.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from tickhouse.reconcile import ledger as ledgers
from tickhouse.reconcile import letters, ranges, records
from tickhouse.reconcile.avro import Decoder
from tickhouse.reconcile.kafka import Ends, Topics
from tickhouse.reconcile.law import Gaps, IdLaw
from tickhouse.reconcile.ledger import Ledger
from tickhouse.reconcile.model import StreamKey, Trade, event_id, parse_event_id
from tickhouse.reconcile.ranges import Range
from tickhouse.reconcile.records import Broken
from tickhouse.reconcile.trades import Expected, Horizon, Row, Seen, compare
from tickhouse.reconcile.truth import Truth
from tickhouse.reconcile.verdict import Verdict

TRADES = "crypto.trades"
ENRICHED = "crypto.trades.enriched"
TICKS = "crypto.ticks"
_FOREVER = (1 << 63) - 1
_LIVE_WRITERS = ("live", "backfill")


@dataclass
class Base:
    """What the first step leaves for the others.

    `expected` is what every store of trades should hold, `copies` how often Kafka has each id, `horizon` what is later
    than the judged moment, `own` the streams for which Kafka itself is the truth.
    """

    expected: Expected
    copies: Mapping[StreamKey, Mapping[int, int]]
    horizon: Horizon
    ledger: Ledger
    letters: letters.Letters
    kafka: Verdict
    own: set[StreamKey]
    is_complete: bool
    broken: list[Broken] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Trusted:
    """Decide for which events Kafka's own copy is the truth: those of streams that no recorded truth covers.

    Args:
        truth: What was recorded.
        ledger: Which writer claims which stream.
    """

    def __init__(self, truth: Truth, ledger: Ledger) -> None:
        self._truth = truth
        self._is_empty = not truth.sources
        self._live = {ledgers.stream_of(value) for value in ledger.writers if value.get("writer") in _LIVE_WRITERS}
        self._claimed = {ledgers.stream_of(value) for value in ledger.writers}

    def __call__(self, key: StreamKey) -> bool:
        """Return whether ids that the truth lacks are to be believed in this stream."""
        if self._is_empty:
            return True
        if key in self._truth.live:
            return False
        return key in self._live or (key in self._claimed and key not in self._truth.trades)


def check(topics: Topics, decoder: Decoder, truth: Truth, first_ends: Ends, limit: int) -> Base:
    """Read Kafka and hold it against the truth.

    Args:
        topics: Kafka.
        decoder: Reads the values.
        truth: What was offered.
        first_ends: Ends of `crypto.trades` when the check began: where Kafka is its own truth, it is up to there.
        limit: Examples a fault.

    Raises:
        StoreUnavailable: Kafka or the registry does not answer.
    """
    ledger = ledgers.read(topics.scan("crypto.ledger"), topics.scan("crypto.gaps"))
    dead = letters.read(topics.scan("dlq.producer"))
    ends = topics.ends(TRADES)
    collector = Collector(truth, Trusted(truth, ledger), first_ends)
    broken: list[Broken] = []
    rows = records.trade_rows(topics.scan(TRADES, ends), decoder, len(ends), broken)
    base = judge(rows, collector, ledger, dead, Verdict("kafka", limit=limit))
    base.broken = broken
    _note_retention(ends, base.kafka)
    return base


def judge(rows: Iterable[Row], collector: Collector, ledger: Ledger, dead: letters.Letters, verdict: Verdict) -> Base:
    """Hold Kafka's rows against the truth (the pure part of `check`)."""
    truth = collector.truth
    explained = ledger.gap_ranges("open", "unfillable")
    expected = Expected(collector.expected)
    excused: dict[StreamKey, set[int]] = {}

    def excuse(key: StreamKey, missing: list[int]) -> set[int]:
        excused[key] = {number for number in missing if ranges.contains(explained.get(key, []), number)}
        return excused[key]

    horizon = Horizon(live_horizon(truth))
    seen = compare(collector.watch(rows), expected, verdict, excuse=excuse, horizon=horizon)
    return Base(
        expected=without(expected, excused),
        copies=seen.copies,
        horizon=Horizon(collector.beyond(seen)),
        ledger=ledger,
        letters=dead,
        kafka=verdict,
        own=collector.own,
        is_complete=not collector.own,
    )


class Collector:
    """Adds to the truth what Kafka alone can tell, while its rows pass by.

    Args:
        truth: What was recorded; it is not changed.
        trusted: Which streams Kafka vouches for.
        first_ends: Later offsets are beyond the judged moment in those streams.
    """

    def __init__(self, truth: Truth, trusted: Trusted, first_ends: Ends) -> None:
        self.truth = truth
        self.expected: dict[StreamKey, dict[int, Trade]] = dict(truth.trades)
        self.own: set[StreamKey] = set()
        self._trusted = trusted
        self._ends = first_ends
        self._late: dict[StreamKey, set[int]] = {}

    def watch(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Pass rows on; each is expected by the time it is judged if its stream is trusted."""
        for row in rows:
            trade = row.trade
            if trade.trade_id in self.expected.get(trade.key, {}) or not self._trusted(trade.key):
                yield row
            elif row.place[2] < self._ends.get(row.place[1], (0, 0))[1]:
                self._add(trade)
                yield row
            else:
                self._late.setdefault(trade.key, set()).add(trade.trade_id)

    def _add(self, trade: Trade) -> None:
        if trade.key not in self.own:
            self.own.add(trade.key)
            self.expected[trade.key] = dict(self.expected.get(trade.key, {}))
        self.expected[trade.key][trade.trade_id] = trade

    def beyond(self, seen: Seen) -> dict[StreamKey, list[Range]]:
        """Return the ids that are later than the judged moment, by stream."""
        beyond = live_horizon(self.truth)
        for key in self.own | self._late.keys():
            late = ranges.of_ids(self._late.get(key, ()))
            last = max(self.expected.get(key, {}), default=-1)
            beyond[key] = ranges.merged([*late, (last + 1, _FOREVER)])
        return beyond


def live_horizon(truth: Truth) -> dict[StreamKey, list[Range]]:
    """Return what a running exchange sends after the truth was taken, by stream."""
    return {key: [(last + 1, _FOREVER)] for key, last in truth.live.items()} if truth.is_running else {}


def without(expected: Expected, excused: Mapping[StreamKey, set[int]]) -> Expected:
    """Return the expectation less the excused ids."""
    if not any(excused.values()):
        return expected
    return Expected(
        {
            key: {number: trade for number, trade in trades.items() if number not in excused.get(key, ())}
            for key, trades in expected.trades.items()
        }
    )


def _note_retention(ends: Ends, verdict: Verdict) -> None:
    gone = {partition: low for partition, (low, _) in ends.items() if low > 0}
    if gone:
        verdict.notes.append(f"Kafka's retention removed the records before these offsets (by partition): {gone}")


def gaps_of(base: Base) -> Gaps:
    """Count the gaps: ids in open gaps are those that neither Kafka nor the dead letters have."""
    present = present_ranges(base)
    open_, filled, unfillable = (base.ledger.gap_ranges(state) for state in ("open", "filled", "unfillable"))
    return Gaps(
        open_ids=_absent(open_, present),
        filled_ids=sum(map(ranges.size, filled.values())),
        unfillable_ids=_absent(unfillable, present),
        open=base.ledger.count("open"),
        filled=base.ledger.count("filled"),
        unfillable=base.ledger.count("unfillable"),
    )


def _absent(spans: Mapping[StreamKey, list[Range]], present: Mapping[StreamKey, list[Range]]) -> int:
    return sum(ranges.size(ranges.subtract(found, present.get(key, []))) for key, found in spans.items())


def present_ranges(base: Base) -> dict[StreamKey, list[Range]]:
    """Return the ids that are in Kafka or in the dead letters, by stream."""
    rejected = rejected_ids(base.letters.reasons)
    keys = base.copies.keys() | rejected.keys()
    return {key: ranges.of_ids({*base.copies.get(key, ()), *rejected.get(key, ())}) for key in keys}


def rejected_ids(keys: Iterable[str]) -> dict[StreamKey, set[int]]:
    """Return the ids among dead-letter keys, by stream; hashed keys have none."""
    found: dict[StreamKey, set[int]] = {}
    for text in keys:
        if not text.startswith("sha256:"):
            try:
                key, number = parse_event_id(text)
            except ValueError:
                continue
            found.setdefault(key, set()).add(number)
    return found


def id_law(base: Base, truth: Truth) -> IdLaw:
    """Weigh the ids the exchange gave out: each is in Kafka, rejected, or in a gap that is not filled.

    Ids in gaps that no source offered (holes of a file) are ids of the exchange too: it is known to have used them.
    """
    refused, found = rejected_ids(one.key for one in truth.rejections), rejected_ids(base.letters.reasons)
    gaps = base.ledger.gap_ranges("open", "unfillable")
    in_gaps = {key: ranges.subtract(spans, present_ranges(base).get(key, [])) for key, spans in gaps.items()}
    law = IdLaw(0, base.kafka.distinct - _unexpected(base), 0, sum(map(ranges.size, in_gaps.values())))
    ids = rejected = 0
    for key in {*base.expected.trades, *refused, *in_gaps}:
        if _is_trade(key):
            valid = base.expected.trades.get(key, {}).keys()
            only_refused = refused.get(key, set()) - valid
            known = ranges.of_ids({*valid, *only_refused})
            ids += ranges.size(known) + ranges.size(ranges.subtract(in_gaps.get(key, []), known))
            rejected += len(only_refused & found.get(key, set()))
    return replace(law, exchange_ids=ids, rejected=rejected)


def _is_trade(key: StreamKey) -> bool:
    return key.stream in ("aggTrade", "trade")


def _unexpected(base: Base) -> int:
    return sum(len(numbers.keys() - base.expected.trades.get(key, {}).keys()) for key, numbers in base.copies.items())


def check_ledger(base: Base, truth: Truth, verdict: Verdict) -> None:
    """Hold the ledger against the log: what it says was seen is there, what it says was filled is there."""
    present = present_ranges(base)
    seen = base.ledger.seen()
    verdict.count, verdict.distinct = len(base.ledger.writers), len(seen)
    verdict.delivered = sum(map(ranges.size, seen.values()))
    for key, spans in seen.items():
        for low, high in ranges.subtract(spans, present.get(key, [])) if _is_trade(key) else ():
            detail = f"the ledger says ids {low} to {high} were seen; neither Kafka nor the dead letters have them"
            verdict.blame("missing", event_id(key, low), detail, high - low + 1)
    for gap in base.ledger.gaps:
        if gap["state"] == "filled":
            _check_filled(gap, present, verdict)
    _check_holes(base, truth, present, verdict)


def _check_holes(base: Base, truth: Truth, present: Mapping[StreamKey, list[Range]], verdict: Verdict) -> None:
    """Require a gap for every id that a source skips; ids of single USD-M and COIN-M trades may skip by nature."""
    gaps = base.ledger.gap_ranges("open", "filled", "unfillable")
    refused = rejected_ids(one.key for one in truth.rejections)
    for key, low, high in truth.spans:
        if key.stream == "trade" and key.market != "spot":
            continue
        offered = ranges.of_ids({*base.expected.trades.get(key, {}), *refused.get(key, ())})
        known = ranges.merged([*offered, *present.get(key, []), *gaps.get(key, [])])
        for first, last in ranges.subtract([(low, high)], known):
            detail = f"ids {first} to {last} were never offered, and no gap of the ledger says so"
            verdict.blame("missing", event_id(key, first), detail, last - first + 1)


def _check_filled(gap: dict[str, object], present: Mapping[StreamKey, list[Range]], verdict: Verdict) -> None:
    key, first, last = ledgers.stream_of(gap), int(str(gap["first_id"])), int(str(gap["last_id"]))
    wanted = int(str(gap.get("filled_ids", last - first + 1)))
    found = last - first + 1 - ranges.size(ranges.subtract([(first, last)], present.get(key, [])))
    if found < wanted:
        verdict.blame("missing", event_id(key, first), f"gap to {last} is filled with {wanted} ids, Kafka has {found}")


def known_duplicates(truth: Truth, copies: Mapping[StreamKey, Mapping[int, int]]) -> int:
    """Return how many offerings were one too many: of each id the repeats in the sources or in Kafka, the greater."""
    extra = {(key, number): times for (key, number), times in truth.repeats.items()}
    for key, numbers in copies.items():
        for number, times in numbers.items():
            if times > 1:
                extra[key, number] = max(extra.get((key, number), 0), times - 1)
    return sum(extra.values())
