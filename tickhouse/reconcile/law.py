"""The conservation law, as figures: docs/explanation/conservation.md says where each comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tickhouse.reconcile.verdict import Verdict


@dataclass(frozen=True)
class StoreLaw:
    """offered = delivered + rejected + known duplicates, for one store."""

    offered: int
    delivered: int
    rejected: int
    known_duplicates: int

    @property
    def holds(self) -> bool:
        """Return whether both sides are equal."""
        return self.offered == self.delivered + self.rejected + self.known_duplicates


@dataclass(frozen=True)
class IdLaw:
    """exchange ids = delivered + rejected + open gaps."""

    exchange_ids: int
    delivered: int
    rejected: int
    open_gaps: int

    @property
    def holds(self) -> bool:
        """Return whether both sides are equal."""
        return self.exchange_ids == self.delivered + self.rejected + self.open_gaps


@dataclass(frozen=True)
class Gaps:
    """Gaps of the ledger: ids in open ones, ids filled, ids the exchange serves no more, and how many gaps of each."""

    open_ids: int = 0
    filled_ids: int = 0
    unfillable_ids: int = 0
    open: int = 0
    filled: int = 0
    unfillable: int = 0


@dataclass
class Report:
    """Everything one reconciliation found.

    Args:
        offered: Valid events + rejections + known duplicates; see the law.
        stores: Stores of the promise, by name.
        checks: What is beside the stores: dead letters, ledger, ticks.
        truth: Where the expectation came from, for the reader.
    """

    offered: int
    rejected: int
    known_duplicates: int
    gaps: Gaps
    ids: IdLaw
    stores: dict[str, Verdict]
    laws: dict[str, StoreLaw]
    checks: dict[str, Verdict]
    truth: dict[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Return whether every store and check is right and the law holds everywhere."""
        verdicts = [*self.stores.values(), *self.checks.values()]
        laws_hold = self.ids.holds and all(law.holds for law in self.laws.values())
        return laws_hold and all(verdict.ok for verdict in verdicts)

    def document(self) -> dict[str, Any]:
        """Return the stable JSON interface, with more beside it."""
        return {
            "ok": self.ok,
            "offered": self.offered,
            "rejected": self.rejected,
            "known_duplicates": self.known_duplicates,
            "gaps_open": self.gaps.open_ids,
            "gaps_filled": self.gaps.filled_ids,
            "stores": _documents(self.stores),
            "checks": _documents(self.checks),
            "gaps": asdict(self.gaps),
            "law": {
                "exchange_ids": asdict(self.ids) | {"holds": self.ids.holds},
                "stores": {name: asdict(law) | {"holds": law.holds} for name, law in self.laws.items()},
            },
            "truth": self.truth,
        }

    def worst(self) -> list[tuple[str, str, str, str]]:
        """Return the examples of all verdicts as (store, fault, subject, detail)."""
        everything = [*self.stores.items(), *self.checks.items()]
        return [(name, *example) for name, verdict in everything for example in verdict.examples]


def _documents(verdicts: Mapping[str, Verdict]) -> dict[str, Any]:
    return {name: verdict.document() for name, verdict in verdicts.items()}
