"""Retention of Elasticsearch: remove old monthly indices, and the oldest if there are too many."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from common.clients import elasticsearch
from common.settings import Settings
from tickhouse.retention.candles import end_of
from tickhouse.retention.declaration import IndicesKept
from tickhouse.retention.policy import Covers, Step, StorePlan, days_text, store_plan

PREFIXES = ("crypto-trades-", "crypto-ticks-")
LOGS = "tickhouse-logs-"
# Date format of an index name by the length of the date. Versions before ADR 0021 made daily
# indices, which may still exist.
_PERIODS = {len("2024.08"): "%Y.%m", len("2024.08.08"): "%Y.%m.%d", len("2024"): "%Y"}


class IndexInfo(NamedTuple):
    """Creation time, size and documents of an index, as the server reports them."""

    made_at: datetime
    bytes: int
    documents: int


@dataclass(frozen=True)
class ElasticsearchIndices:
    """Retention of Elasticsearch."""

    settings: Settings
    kept: IndicesKept
    store: str = "elasticsearch"

    @property
    def declared(self) -> str:
        """Return in words how long an index is kept."""
        days = days_text(self.kept.days)
        return f"an index, {days} after it was made and its month ended; {self.kept.most_indices} of a kind"

    def plan(self, now: datetime) -> StorePlan:
        """Return the indices to remove.

        Raises:
            StoreUnavailable: Elasticsearch does not answer.
        """
        described = elasticsearch.describe(self.settings, "crypto-*")
        indices = {name: IndexInfo(*values) for name, values in described.items()}
        steps = [step for prefix in PREFIXES for step in due(indices, prefix, self.kept, now)]
        return store_plan(self, steps, bytes=sum(index.bytes for index in indices.values()))

    def do(self, step: Step, now: datetime) -> None:
        """Delete one index; an index that is gone already is no error.

        Raises:
            StoreUnavailable: Elasticsearch does not answer.
        """
        elasticsearch.delete_index(self.settings, step.item)


@dataclass(frozen=True)
class LogIndices:
    """Retention of the logs in Elasticsearch: one index per day, which holds no event."""

    settings: Settings
    kept: IndicesKept
    store: str = "logs"

    @property
    def declared(self) -> str:
        """Return in words how long an index is kept."""
        return f"an index, {days_text(self.kept.days)} after its day; at most {self.kept.most_indices}"

    def plan(self, now: datetime) -> StorePlan:
        """Return the indices to remove.

        Raises:
            StoreUnavailable: Elasticsearch does not answer.
        """
        described = elasticsearch.describe(self.settings, f"{LOGS}*")
        indices = {name: IndexInfo(*values) for name, values in described.items()}
        steps = [replace(step, covers=None) for step in due(indices, LOGS, self.kept, now)]
        return store_plan(self, steps, bytes=sum(index.bytes for index in indices.values()))

    def do(self, step: Step, now: datetime) -> None:
        """Delete one index; an index that is gone already is no error.

        Raises:
            StoreUnavailable: Elasticsearch does not answer.
        """
        elasticsearch.delete_index(self.settings, step.item)


def due(found: Mapping[str, IndexInfo], prefix: str, kept: IndicesKept, now: datetime) -> list[Step]:
    """Return the steps for one kind of index (pure)."""
    spans = {name: span for name in found if name.startswith(prefix) and (span := period(name.removeprefix(prefix)))}
    horizon = now - timedelta(days=kept.days)
    oldest_first = sorted(spans, key=lambda name: (max(found[name].made_at, spans[name][1]), name))
    beyond = set(oldest_first[: max(0, len(spans) - kept.most_indices)])
    steps = []
    for name in oldest_first:
        start, end = spans[name]
        index = found[name]
        if max(index.made_at, end) < horizon:
            why = f"made {index.made_at:%Y-%m-%d}, its events end {end:%Y-%m-%d}"
        elif name in beyond:
            why = f"more than {kept.most_indices} indices, this one is the oldest"
        else:
            continue
        steps.append(Step("remove", name, why, index.bytes, index.documents, Covers(start, end, now)))
    return steps


def period(text: str) -> tuple[datetime, datetime] | None:
    """Return start and end of the month, year or day in an index's name; None if there is none."""
    try:
        start = datetime.strptime(text, _PERIODS.get(len(text), "")).replace(tzinfo=UTC)
    except ValueError:
        return None
    if len(text) == len("2024.08.08"):
        return start, start + timedelta(days=1)
    if len(text) == len("2024"):
        return start, start.replace(year=start.year + 1)
    return start, end_of(start.date())
