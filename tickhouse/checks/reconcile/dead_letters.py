"""Compare the dead letters with what was rejected.

Each expected rejection and each undecodable record must have one dead letter, and nothing else may
have one.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from tickhouse.checks.reconcile.kafka import LogRecord
from tickhouse.checks.reconcile.kafka_records import UndecodableRecord
from tickhouse.checks.reconcile.model import Rejection
from tickhouse.checks.reconcile.store_result import StoreResult

_TICK = re.compile(r"binance:[^:]+:[^:]+:(?:ticker|miniTicker|bookTicker):[0-9]+")
# JSON that ends too early may be called either; the record is rejected in both cases.
_EQUIVALENT = {"truncated": "invalid_json"}


@dataclass
class Letters:
    """Dead letters by key. A record written again after a crash has the same position and counts
    once.
    """

    reasons: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    details: dict[str, str] = field(default_factory=dict)
    rows: int = 0
    repeats: int = 0

    @property
    def distinct(self) -> int:
        """Return how many different rejections there are."""
        return sum(map(len, self.reasons.values()))

    def each(self) -> Iterator[Rejection]:
        """Yield every different rejection."""
        for key, reasons in self.reasons.items():
            yield from (Rejection(key, reason, "") for reason in reasons)

    def matching(self, rejections: Iterable[Rejection]) -> int:
        """Return how many of these rejections have a dead letter."""
        wanted = Counter(one.key for one in rejections)
        return sum(
            min(count, sum(reason != "conflict" for reason in self.reasons.get(key, ())))
            for key, count in wanted.items()
        )


def read(records: Iterable[LogRecord]) -> Letters:
    """Read a dead-letter topic; a record that was written again counts as a repeat."""
    letters, known = Letters(), set()
    for record in records:
        letters.rows += 1
        identity = _identity(record)
        if identity in known:
            letters.repeats += 1
            continue
        known.add(identity)
        key = identity[0]
        letters.reasons[key].append(record.headers.get("reason", ""))
        letters.details[key] = f"{record.headers.get('reason', 'no reason')}: {record.headers.get('detail', '')}"
    return letters


def _identity(record: LogRecord) -> tuple[str, ...]:
    """Return the identity of a rejection: key, position and, on a connection, time of receipt."""
    key = (record.key or b"").decode("utf-8", "replace")
    headers = record.headers
    if "topic" in headers:  # dlq.spark: the key names the record
        return (key,)
    received = "" if headers.get("source") == "ARCHIVE" else headers.get("received_at_us", "")
    return key, headers.get("position", ""), received


def compare_rejections(
    letters: Letters, expected: Iterable[Rejection], result: StoreResult, *, is_complete: bool, has_ticks: bool = True
) -> None:
    """Compare `dlq.producer` with the expected rejections.

    Args:
        letters: What the topic holds.
        expected: The offered events that must be rejected.
        result: Receives counts and faults.
        is_complete: Whether everything offered is recorded, so that any other dead letter is a
            fault.
        has_ticks: Whether ticks are recorded too; if not, their dead letters are only counted.
    """
    wanted: dict[str, list[Rejection]] = defaultdict(list)
    for rejection in expected:
        wanted[rejection.key].append(rejection)
    result.count, result.distinct, result.known_duplicates = letters.rows, letters.distinct, letters.repeats
    for key, rejections in wanted.items():
        _compare_key(key, rejections, letters.reasons.get(key, []), result)
    others = sorted(letters.reasons.keys() - wanted.keys()) if is_complete else []
    unknown = [] if has_ticks else [key for key in others if _TICK.fullmatch(key)]
    if unknown:
        what = f"{len(unknown):,} rejected ticks cannot be compared: the exchange keeps no record of the ticks it sent"
        result.notes.append(f"{what}, e.g. {unknown[0]} ({letters.details[unknown[0]]})")
    for key in sorted(set(others) - set(unknown)):
        result.add_fault("mismatch", key, f"rejected, but it is recorded as a valid event ({letters.details[key]})")


def _compare_key(key: str, rejections: list[Rejection], found: list[str], result: StoreResult) -> None:
    for rejection in rejections[len(found) :]:
        result.add_fault("missing", key, f"{rejection.reason} at {rejection.position}, no dead letter")
    if len(found) > len(rejections):
        result.add_fault("duplicate", key, f"{len(found)} dead letters for {len(rejections)} rejections")
    result.delivered += min(len(found), len(rejections))
    wanted_reasons = Counter(_EQUIVALENT.get(rejection.reason, rejection.reason) for rejection in rejections)
    other = Counter(_EQUIVALENT.get(reason, reason) for reason in found) - wanted_reasons
    if other and len(found) == len(rejections):
        result.add_fault("mismatch", key, f"expected reason {', '.join(wanted_reasons)}, was {', '.join(other)}")


def compare_broken(
    letters: Letters,
    broken: Iterable[UndecodableRecord],
    result: StoreResult,
    sent_again: Callable[[], frozenset[str]],
) -> None:
    """Compare `dlq.spark` with the records that the checker itself could not decode.

    Args:
        letters: What the topic holds.
        broken: Records that do not decode today.
        result: Receives counts and faults.
        sent_again: Returns the keys of letters that were sent again. It is called when a letter's
            record decodes today, which happens after its cause was fixed.
    """
    wanted = {one.dead_letter_key: one for one in broken}
    result.count, result.distinct, result.known_duplicates = letters.rows, letters.distinct, letters.repeats
    result.delivered = len(wanted.keys() & letters.reasons.keys())
    for key in sorted(wanted.keys() - letters.reasons.keys()):
        result.add_fault("missing", key, f"{wanted[key].reason}, no dead letter")
    decodes = sorted(letters.reasons.keys() - wanted.keys())
    redriven = sent_again() if decodes else frozenset()
    if repaired := redriven.intersection(decodes):
        result.notes.append(f"{len(repaired):,} letters were sent again, and their records decode now")
    for key in decodes:
        if key not in redriven:
            result.add_fault("mismatch", key, f"the record decodes, but it is a dead letter ({letters.details[key]})")
    for key in sorted(wanted.keys() & letters.reasons.keys()):
        if letters.reasons[key] != [wanted[key].reason]:
            result.add_fault("mismatch", key, f"expected reason {wanted[key].reason}, was {letters.reasons[key]}")
