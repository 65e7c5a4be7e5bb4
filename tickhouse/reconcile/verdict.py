"""What a check found in one store."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from tickhouse.reconcile.model import hash_text

Fault = Literal["missing", "duplicate", "mismatch"]
FAULTS: tuple[Fault, ...] = ("missing", "duplicate", "mismatch")


class Example(NamedTuple):
    """One thing that is wrong: `subject` is an event id where there is one, else what the store calls the row."""

    fault: Fault
    subject: str
    detail: str


@dataclass
class Verdict:
    """One store against what it should hold.

    `count` is rows as they lie in the store, `distinct` the different ids (or bars) among them. `known_duplicates` are
    repeats that at-least-once delivery allows, `ahead` rows later than the moment that is judged, `in_gaps` missing ids
    that a gap of the ledger explains: none is a fault. `hash` leaves sentinels out, so that candles and trades can be
    compared; `hash_all` has them.
    """

    store: str
    count: int = 0
    distinct: int = 0
    delivered: int = 0
    known_duplicates: int = 0
    ahead: int = 0
    in_gaps: int = 0
    hash: int | None = None
    hash_all: int | None = None
    faults: dict[Fault, int] = field(default_factory=lambda: dict.fromkeys(FAULTS, 0))
    examples: list[Example] = field(default_factory=list)
    minutes_differing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    limit: int = 5

    @property
    def ok(self) -> bool:
        """Return whether nothing is wrong."""
        return not any(self.faults.values())

    def blame(self, fault: Fault, subject: str, detail: str, count: int = 1) -> None:
        """Count a fault and keep it as an example while there are fewer than `limit` of its kind."""
        self.faults[fault] += count
        if sum(example.fault == fault for example in self.examples) < self.limit:
            self.examples.append(Example(fault, subject, detail))

    def document(self) -> dict[str, Any]:
        """Return the verdict as the JSON interface gives it."""
        return {
            "ok": self.ok,
            "count": self.count,
            "distinct": self.distinct,
            "delivered": self.delivered,
            **{str(fault): number for fault, number in self.faults.items()},
            "known_duplicates": self.known_duplicates,
            "ahead": self.ahead,
            "in_gaps": self.in_gaps,
            "hash": None if self.hash is None else hash_text(self.hash),
            "hash_all": None if self.hash_all is None else hash_text(self.hash_all),
            "minutes_differing": self.minutes_differing,
            "examples": [example._asdict() for example in self.examples],
            "notes": self.notes,
        }
