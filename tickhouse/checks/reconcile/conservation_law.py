"""The figures of the conservation law, and the report that holds them.

docs/explanation/conservation.md explains where each figure comes from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tickhouse.checks.reconcile.store_result import StoreResult


@dataclass(frozen=True)
class StoreLaw:
    """offered = delivered + expired + rejected + known duplicates, for one store.

    `expired` counts the events that were delivered and later removed by retention.
    """

    offered: int
    delivered: int
    rejected: int
    known_duplicates: int
    expired: int = 0

    @property
    def holds(self) -> bool:
        """Return whether both sides are equal."""
        return self.offered == self.delivered + self.expired + self.rejected + self.known_duplicates


@dataclass(frozen=True)
class IdLaw:
    """exchange ids = delivered + expired + rejected + open gaps.

    `expired` counts the ids that were delivered and later removed by Kafka's retention.
    """

    exchange_ids: int
    delivered: int
    rejected: int
    open_gaps: int
    expired: int = 0

    @property
    def holds(self) -> bool:
        """Return whether both sides are equal."""
        return self.exchange_ids == self.delivered + self.expired + self.rejected + self.open_gaps


@dataclass(frozen=True)
class Gaps:
    """The number of gaps in the ledger, and of the ids in them, by state."""

    open_ids: int = 0
    filled_ids: int = 0
    unfillable_ids: int = 0
    open: int = 0
    filled: int = 0
    unfillable: int = 0


@dataclass
class ReconcileReport:
    """The result of one reconciliation.

    Attributes:
        offered: Valid events + rejections + known duplicates.
        stores: Results of the stores that must hold every event, by name.
        laws: The law of each store, by name.
        checks: Results of the other checks (dead letters, ledger, ticks), by name.
        truth: The sources of the record of offered events.
        resolved: How many dead letters have an id that was also delivered: each holds a bad copy of
            a good event.
    """

    offered: int
    rejected: int
    known_duplicates: int
    gaps: Gaps
    ids: IdLaw
    stores: dict[str, StoreResult]
    laws: dict[str, StoreLaw]
    checks: dict[str, StoreResult]
    truth: dict[str, Any] = field(default_factory=dict)
    resolved: int = 0

    @property
    def ok(self) -> bool:
        """Return whether no store or check has a fault and every law holds."""
        results = [*self.stores.values(), *self.checks.values()]
        laws_hold = self.ids.holds and all(law.holds for law in self.laws.values())
        return laws_hold and all(result.ok for result in results)

    def document(self) -> dict[str, Any]:
        """Return the report as JSON; the keys are a stable interface."""
        return {
            "ok": self.ok,
            "offered": self.offered,
            "rejected": self.rejected,
            "resolved": self.resolved,
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
        """Return the examples of all results as (store, fault, subject, detail)."""
        everything = [*self.stores.items(), *self.checks.items()]
        return [(name, *example) for name, result in everything for example in result.examples]


def _documents(results: Mapping[str, StoreResult]) -> dict[str, Any]:
    return {name: result.document() for name, result in results.items()}
