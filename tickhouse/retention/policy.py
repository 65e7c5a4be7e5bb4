"""The retention policy of one store, and its plan: steps that any run may repeat."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple, Protocol

Action = Literal["remove", "make", "set"]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Covers(NamedTuple):
    """Which events a step removes: event time in [from, until), arrived before a time."""

    event_from: datetime
    event_until: datetime
    arrived_before: datetime


@dataclass(frozen=True, slots=True)
class Step:
    """One change: `remove` an item, `make` one that will be needed, `set` a server's value.

    `covers` is given when events are removed; it is recorded before the removal.
    """

    action: Action
    item: str
    why: str
    bytes: int | None = None
    rows: int | None = None
    covers: Covers | None = None

    def document(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "action": self.action,
            "item": self.item,
            "why": self.why,
            "bytes": self.bytes,
            "rows": self.rows,
        }


@dataclass(frozen=True, slots=True)
class StorePlan:
    """Size and steps of a store; `done` counts the steps done, `error` is why others were not."""

    store: str
    declared: str
    bytes: int | None = None
    steps: tuple[Step, ...] = ()
    notes: tuple[str, ...] = ()
    done: int = 0
    error: str = ""

    @property
    def frees(self) -> int:
        """Return the bytes that the steps remove, as far as they are known."""
        return sum(step.bytes or 0 for step in self.steps if step.action == "remove")

    def with_error(self, error: str) -> StorePlan:
        """Return the plan with an error."""
        return replace(self, error=error)

    def document(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "store": self.store,
            "declared": self.declared,
            "bytes": self.bytes,
            "frees_bytes": self.frees,
            "steps": [step.document() for step in self.steps],
            "notes": list(self.notes),
            "done": self.done,
            "error": self.error or None,
        }


class Policy(Protocol):
    """Retention of one store."""

    @property
    def store(self) -> str:
        """Return the name under which plans and records show it."""
        ...

    @property
    def declared(self) -> str:
        """Return in words how long the store keeps its data."""
        ...

    def plan(self, now: datetime) -> StorePlan:
        """Return what is to be done now; changes nothing.

        Raises:
            TickhouseError: The store does not answer.
        """
        ...

    def do(self, step: Step, now: datetime) -> None:
        """Do one step of the plan for the same `now`; a step that is done already changes nothing.

        Raises:
            TickhouseError: The store does not answer, or refuses.
        """
        ...


def store_plan(policy: Policy, steps: Iterable[Step], **more: Any) -> StorePlan:
    """Return the plan of a policy."""
    return StorePlan(policy.store, policy.declared, steps=tuple(steps), **more)


def days_text(days: int) -> str:
    """Return a number of days in words."""
    return f"{days} day" if days == 1 else f"{days} days"
