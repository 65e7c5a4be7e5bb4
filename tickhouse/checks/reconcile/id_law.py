"""Apply the conservation law to the exchange's ids: each is in Kafka, rejected, or in a gap.

Also check that the gap ledger agrees with the topics.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from tickhouse.checks.reconcile import gap_ledger as ledgers
from tickhouse.checks.reconcile import ranges
from tickhouse.checks.reconcile.conservation_law import Gaps, IdLaw
from tickhouse.checks.reconcile.kafka_check import KafkaResult, rejected_ids
from tickhouse.checks.reconcile.model import CheckedStream, Rejection, event_id
from tickhouse.checks.reconcile.offered_events import OfferedEvents
from tickhouse.checks.reconcile.ranges import Range
from tickhouse.checks.reconcile.store_result import StoreResult


def gaps_of(base: KafkaResult) -> Gaps:
    """Count the gaps, and their ids; open and unfillable gaps count only ids still missing."""
    present = present_ranges(base)
    open_, filled, unfillable = (base.ledger.gap_ranges(state) for state in ("open", "filled", "unfillable"))
    return Gaps(
        open_ids=_count_absent(open_, present),
        filled_ids=sum(map(ranges.size, filled.values())),
        unfillable_ids=_count_absent(unfillable, present),
        open=base.ledger.count("open"),
        filled=base.ledger.count("filled"),
        unfillable=base.ledger.count("unfillable"),
    )


def _count_absent(spans: Mapping[CheckedStream, list[Range]], present: Mapping[CheckedStream, list[Range]]) -> int:
    return sum(ranges.size(ranges.subtract(found, present.get(key, []))) for key, found in spans.items())


def present_ranges(base: KafkaResult) -> dict[CheckedStream, list[Range]]:
    """Return the ids that are in Kafka or in the dead letters, by stream."""
    rejected = rejected_ids(base.letters.reasons)
    keys = base.copies.keys() | rejected.keys()
    return {key: ranges.of_ids({*base.copies.get(key, ()), *rejected.get(key, ())}) for key in keys}


def known_ranges(base: KafkaResult) -> dict[CheckedStream, list[Range]]:
    """Return the ids that are in Kafka or in the dead letters, or were there and have expired, by
    stream.
    """
    known = present_ranges(base)
    for key in base.expired.streams():
        known[key] = ranges.merged([*known.get(key, []), *base.expired.from_log(key, known.get(key, []))])
    return known


def resolved(base: KafkaResult, rejections: Iterable[Rejection]) -> list[Rejection]:
    """Return the rejections whose id was also offered as a valid event.

    Each is a bad copy of a good event, and its id counts once, as delivered. A conflict stays a
    rejection, because it rejects the other payload.
    """
    bad_copies = []
    for rejection in rejections:
        ids = rejected_ids([rejection.key]) if rejection.reason != "conflict" else {}
        if any(not numbers.isdisjoint(base.expected.trades.get(key, {})) for key, numbers in ids.items()):
            bad_copies.append(rejection)
    return bad_copies


def id_law(base: KafkaResult, truth: OfferedEvents) -> IdLaw:
    """Return the law of the exchange's ids: each is in Kafka, rejected, or in a gap not filled.

    Ids in gaps that no source offered (holes of a file) count too, because the exchange has used
    them.
    """
    refused, in_letters = rejected_ids(one.key for one in truth.rejections), rejected_ids(base.letters.reasons)
    gaps = base.ledger.gap_ranges("open", "unfillable")
    in_gaps = {key: ranges.subtract(spans, present_ranges(base).get(key, [])) for key, spans in gaps.items()}
    open_gaps = sum(map(ranges.size, in_gaps.values()))
    law = IdLaw(0, base.kafka.distinct - _count_unexpected(base), 0, open_gaps, base.kafka.expired)
    ids = rejected = 0
    for key in {*base.expected.trades, *refused, *in_gaps}:
        if _is_trade(key):
            valid = base.expected.trades.get(key, {}).keys()
            only_refused = refused.get(key, set()) - valid
            known = ranges.of_ids({*valid, *only_refused})
            ids += ranges.size(known) + ranges.size(ranges.subtract(in_gaps.get(key, []), known))
            rejected += len(only_refused & in_letters.get(key, set()))
    return replace(law, exchange_ids=ids, rejected=rejected)


def _is_trade(key: CheckedStream) -> bool:
    return key.stream in ("aggTrade", "trade")


def _count_unexpected(base: KafkaResult) -> int:
    return sum(len(numbers.keys() - base.expected.trades.get(key, {}).keys()) for key, numbers in base.copies.items())


def check_ledger(base: KafkaResult, truth: OfferedEvents, result: StoreResult) -> None:
    """Compare the ledger with the topics: every id recorded as seen or filled must be there."""
    present = known_ranges(base)
    seen = base.ledger.seen()
    result.count, result.distinct = len(base.ledger.writers), len(seen)
    result.delivered = sum(map(ranges.size, seen.values()))
    for key, spans in seen.items():
        for low, high in ranges.subtract(spans, present.get(key, [])) if _is_trade(key) else ():
            detail = f"the ledger records ids {low} to {high} as seen, neither Kafka nor the dead letters have them"
            result.add_fault("missing", event_id(key, low), detail, high - low + 1)
    for gap in base.ledger.gaps:
        if gap["state"] == "filled":
            _check_filled(gap, present, result)
    _check_holes(base, truth, present, result)


def _check_holes(
    base: KafkaResult, truth: OfferedEvents, present: Mapping[CheckedStream, list[Range]], result: StoreResult
) -> None:
    """Require a gap of the ledger for every id that the sources skip.

    Single trades of USD-M and COIN-M are exempt: the exchange itself skips ids there.
    """
    gaps = base.ledger.gap_ranges("open", "filled", "unfillable")
    refused = rejected_ids(one.key for one in truth.rejections)
    # A hole between two files needs a gap too, in whichever order they were replayed.
    whole = [(key, low, high) for key, (low, high) in truth.file_spans().items()]
    for key, low, high in [*whole, *truth.spans[truth.files_end :]]:
        if key.stream == "trade" and key.market != "spot":
            continue
        offered = ranges.of_ids({*base.expected.trades.get(key, {}), *refused.get(key, ())})
        known = ranges.merged([*offered, *present.get(key, []), *gaps.get(key, [])])
        for first, last in ranges.subtract([(low, high)], known):
            detail = f"ids {first} to {last} were never offered, and no gap of the ledger holds them"
            result.add_fault("missing", event_id(key, first), detail, last - first + 1)


def _check_filled(gap: dict[str, object], present: Mapping[CheckedStream, list[Range]], result: StoreResult) -> None:
    key, first, last = ledgers.stream_of(gap), int(str(gap["first_id"])), int(str(gap["last_id"]))
    wanted = int(str(gap.get("filled_ids", last - first + 1)))
    found = last - first + 1 - ranges.size(ranges.subtract([(first, last)], present.get(key, [])))
    if found < wanted:
        result.add_fault(
            "missing", event_id(key, first), f"gap to {last} is filled with {wanted} ids, Kafka has {found}"
        )


def known_duplicates(truth: OfferedEvents, copies: Mapping[CheckedStream, Mapping[int, int]]) -> int:
    """Return how many known duplicates there are.

    For each id it is the number of repeats in the sources or in Kafka, whichever is greater.
    """
    extra = {(key, number): times for (key, number), times in truth.repeats.items()}
    for key, numbers in copies.items():
        for number, times in numbers.items():
            if times > 1:
                extra[key, number] = max(extra.get((key, number), 0), times - 1)
    return sum(extra.values())
