"""Dead letters: each expected rejection once, each undecodable record once, nothing else."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tickhouse.reconcile.kafka import Record
from tickhouse.reconcile.model import Rejection
from tickhouse.reconcile.records import Broken
from tickhouse.reconcile.verdict import Verdict

_TICK = re.compile(r"binance:[^:]+:[^:]+:(?:ticker|miniTicker|bookTicker):[0-9]+")
# JSON that ends too early is the one or the other by how closely one looks; the record is rejected either way.
_SAME = {"truncated": "invalid_json"}


@dataclass
class Letters:
    """Dead letters by key. A record written again after a crash has the same position and counts once."""

    reasons: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    details: dict[str, str] = field(default_factory=dict)
    rows: int = 0
    repeats: int = 0

    @property
    def distinct(self) -> int:
        """Return how many different rejections there are."""
        return sum(map(len, self.reasons.values()))


def read(records: Iterable[Record]) -> Letters:
    """Fold a dead-letter topic."""
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


def _identity(record: Record) -> tuple[str, ...]:
    """Tell one rejection from another: a file's by its line, a connection's by when it was received as well."""
    key = (record.key or b"").decode("utf-8", "replace")
    headers = record.headers
    if "topic" in headers:  # dlq.spark: the key names the record
        return (key,)
    received = "" if headers.get("source") == "ARCHIVE" else headers.get("received_at_us", "")
    return key, headers.get("position", ""), received


def compare_rejections(
    letters: Letters, expected: Iterable[Rejection], verdict: Verdict, *, is_complete: bool, has_ticks: bool = True
) -> None:
    """Hold `dlq.producer` against the expected rejections.

    Args:
        letters: What the topic holds.
        expected: What the truth says must be rejected.
        verdict: Receives counts and faults.
        is_complete: Whether the truth covers everything offered, so that any other dead letter is a fault.
        has_ticks: Whether it covers ticks too; if not, theirs are only counted.
    """
    wanted: dict[str, list[Rejection]] = defaultdict(list)
    for rejection in expected:
        wanted[rejection.key].append(rejection)
    verdict.count, verdict.distinct, verdict.known_duplicates = letters.rows, letters.distinct, letters.repeats
    for key, rejections in wanted.items():
        _compare_key(key, rejections, letters.reasons.get(key, []), verdict)
    others = sorted(letters.reasons.keys() - wanted.keys()) if is_complete else []
    unjudged = [] if has_ticks else [key for key in others if _TICK.fullmatch(key)]
    if unjudged:
        what = f"{len(unjudged):,} rejected ticks cannot be judged: the exchange keeps no record of the ticks it sent"
        verdict.notes.append(f"{what}, e.g. {unjudged[0]} ({letters.details[unjudged[0]]})")
    for key in sorted(set(others) - set(unjudged)):
        verdict.blame("mismatch", key, f"rejected, but the truth says it is valid ({letters.details[key]})")


def _compare_key(key: str, rejections: list[Rejection], found: list[str], verdict: Verdict) -> None:
    for rejection in rejections[len(found) :]:
        verdict.blame("missing", key, f"{rejection.reason} at {rejection.position}, no dead letter")
    if len(found) > len(rejections):
        verdict.blame("duplicate", key, f"{len(found)} dead letters for {len(rejections)} rejections")
    verdict.delivered += min(len(found), len(rejections))
    wanted_reasons = Counter(_SAME.get(rejection.reason, rejection.reason) for rejection in rejections)
    other = Counter(_SAME.get(reason, reason) for reason in found) - wanted_reasons
    if other and len(found) == len(rejections):
        verdict.blame("mismatch", key, f"expected reason {', '.join(wanted_reasons)}, was {', '.join(other)}")


def compare_broken(
    letters: Letters, broken: Iterable[Broken], verdict: Verdict, sent_again: Callable[[], frozenset[str]]
) -> None:
    """Hold `dlq.spark` against the records that the checker itself could not decode.

    Args:
        letters: What the topic holds.
        broken: Records that do not decode today.
        verdict: Receives counts and faults.
        sent_again: Returns the keys of letters that were sent again; asked when a letter's record decodes today, as it
            may after its cause was mended.
    """
    wanted = {one.dead_letter_key: one for one in broken}
    verdict.count, verdict.distinct, verdict.known_duplicates = letters.rows, letters.distinct, letters.repeats
    verdict.delivered = len(wanted.keys() & letters.reasons.keys())
    for key in sorted(wanted.keys() - letters.reasons.keys()):
        verdict.blame("missing", key, f"{wanted[key].reason}, no dead letter")
    decodes = sorted(letters.reasons.keys() - wanted.keys())
    mended = sent_again() if decodes else frozenset()
    if mended.intersection(decodes):
        verdict.notes.append(f"{len(mended.intersection(decodes)):,} letters were sent again and decode by now")
    for key in decodes:
        if key not in mended:
            verdict.blame("mismatch", key, f"the record decodes, yet it is a dead letter ({letters.details[key]})")
    for key in sorted(wanted.keys() & letters.reasons.keys()):
        if letters.reasons[key] != [wanted[key].reason]:
            verdict.blame("mismatch", key, f"expected reason {wanted[key].reason}, was {letters.reasons[key]}")
