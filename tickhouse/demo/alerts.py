"""The alerts of the demo: which rang, once the watcher has judged everything."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from common.settings import Settings
from tickhouse.alerts.log import after, counts
from tickhouse.alerts.topics import GROUP
from tickhouse.demo.waiting import wait_while_moving
from tickhouse.status.kafka import kafka_status

STALLED_S = 240.0


@dataclass(frozen=True)
class RungAlerts:
    """How many alerts rang, by kind, and the first of them."""

    by_kind: dict[str, int] = field(default_factory=dict)
    first: str = ""

    @property
    def in_words(self) -> str:
        """Return one line for the summary."""
        return f"{sum(self.by_kind.values())} rang; the first: {self.first}" if self.first else "none rang"

    def document(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return {"rang": sum(self.by_kind.values()), "by_kind": self.by_kind, "first": self.first}


def rung_alerts(settings: Settings) -> RungAlerts:
    """Wait until the watcher has read everything, then return what rang.

    Raises:
        ServiceNotReady: The watcher makes no progress.
        StoreUnavailable: PostgreSQL does not answer.
    """

    def poll() -> tuple[bool, object]:
        # Before its first commit, the group has no offsets, and so no lag.
        lag = kafka_status(settings)["lag_records"].get(GROUP)
        return lag == 0, lag

    wait_while_moving(poll, STALLED_S, "the alert watcher", "tickhouse logs alert_watcher")
    first = after(settings, 0, limit=1)
    return RungAlerts(counts(settings), first[0].document["summary"] if first else "")
