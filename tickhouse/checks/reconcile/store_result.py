"""The result of checking one store."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from tickhouse.checks.reconcile.model import hash_text

Fault = Literal["missing", "duplicate", "mismatch"]
FAULTS: tuple[Fault, ...] = ("missing", "duplicate", "mismatch")


class Example(NamedTuple):
    """One fault; `subject` is an event id, or the store's own key when there is no event id."""

    fault: Fault
    subject: str
    detail: str


@dataclass
class StoreResult:
    """One store compared with what it should hold.

    Attributes:
        count: Rows in the store.
        distinct: Different ids (or bars) among them.
        delivered: How many of these are as expected.
        known_duplicates: Repeats that at-least-once delivery allows; not a fault.
        ahead: Rows that are later than the checked moment; not a fault.
        in_gaps: Missing ids that a gap of the ledger explains; not a fault.
        expired: Events that retention removed; not a fault.
        hash: Order-free hash without sentinels, so that candles and trades can be compared.
        hash_all: The same with sentinels.
        limit: How many examples of each kind of fault to keep.
    """

    store: str
    count: int = 0
    distinct: int = 0
    delivered: int = 0
    known_duplicates: int = 0
    ahead: int = 0
    in_gaps: int = 0
    expired: int = 0
    hash: int | None = None
    hash_all: int | None = None
    faults: dict[Fault, int] = field(default_factory=lambda: dict.fromkeys(FAULTS, 0))
    examples: list[Example] = field(default_factory=list)
    minutes_differing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    limit: int = 5

    @property
    def ok(self) -> bool:
        """Return whether there is no fault."""
        return not any(self.faults.values())

    def add_fault(self, fault: Fault, subject: str, detail: str, count: int = 1) -> None:
        """Count a fault, and keep it as an example unless there are `limit` of its kind."""
        self.faults[fault] += count
        if sum(example.fault == fault for example in self.examples) < self.limit:
            self.examples.append(Example(fault, subject, detail))

    def document(self) -> dict[str, Any]:
        """Return the result as JSON-ready values; the keys are a stable interface."""
        return {
            "ok": self.ok,
            "count": self.count,
            "distinct": self.distinct,
            "delivered": self.delivered,
            **{str(fault): number for fault, number in self.faults.items()},
            "known_duplicates": self.known_duplicates,
            "ahead": self.ahead,
            "in_gaps": self.in_gaps,
            "expired": self.expired,
            "hash": None if self.hash is None else hash_text(self.hash),
            "hash_all": None if self.hash_all is None else hash_text(self.hash_all),
            "minutes_differing": self.minutes_differing,
            "examples": [example._asdict() for example in self.examples],
            "notes": self.notes,
        }
