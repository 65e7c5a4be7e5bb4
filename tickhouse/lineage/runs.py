"""Runs of the lakehouse's jobs, and the data that they read and wrote. No I/O.

A run is known by what it wrote: the same job with the same output has the same id, so a repeated or
retried step records the same run again.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from common.days import Days
from common.settings import Settings

_NAMESPACE = uuid.UUID("6b1d5e0e-8a0e-4d0c-9d6c-2f6a3f0b7c11")

# Jobs, by the DAG or command that runs them.
INGEST_JOB = "lake_commit"
BUILD_JOB = "nightly_batch.build"
PUBLISH_JOB = "nightly_batch.publish"
LOAD_JOB = "nightly_batch.load"
GRAPH_JOB = "graph_sync"

BRONZE_TRADES = "bronze/trades"
BRONZE = (BRONZE_TRADES, "bronze/ticks")
BUILT = (
    "silver/trades",
    *(f"gold/candles_{interval}" for interval in ("1m", "5m", "1h", "1d")),
    *(f"gold/{table}" for table in ("top_movers", "volatility", "vwap", "monthly")),
)


@dataclass(frozen=True, slots=True)
class LineageDataset:
    """Data at one version.

    Attributes:
        namespace: Where it is: `kafka://host:port`, `lakefs://repository`, `postgres://host:port`.
        name: Topic, folder of a lake table, or database, schema and table.
        version: Commit of the lake; empty where there is none.
        offsets: For a topic, [first, next) by partition.
    """

    namespace: str
    name: str
    version: str = ""
    offsets: Mapping[str, Sequence[int]] = field(default_factory=dict, hash=False)

    @property
    def key(self) -> tuple[str, str]:
        """Return what another run names this data by: name and version."""
        return self.name, self.version


@dataclass(frozen=True, slots=True)
class LineageRun:
    """One run of a job.

    Attributes:
        job: One of the names above.
        inputs: What it read.
        outputs: What it wrote.
        at: When it ended.
        days: The UTC days that it worked on; None where it has none.
    """

    job: str
    inputs: tuple[LineageDataset, ...]
    outputs: tuple[LineageDataset, ...]
    at: datetime
    days: Days | None = None

    @property
    def run_id(self) -> str:
        """Return the id, which depends on the job and on what it wrote."""
        written = ";".join(f"{one.namespace}/{one.name}@{one.version}" for one in self.outputs)
        read = ";".join(f"{one.name}@{one.version}" for one in self.inputs)
        return str(uuid.uuid5(_NAMESPACE, f"{self.job}|{written}|{read}"))


def lake_dataset(settings: Settings, name: str, commit_id: str) -> LineageDataset:
    """Return a table of the lake at a commit."""
    return LineageDataset(f"lakefs://{settings.lake_repository}", name, commit_id)


def ingest_run(
    settings: Settings, commit_id: str, offsets: Mapping[str, Mapping[str, Sequence[int]]], at: datetime
) -> LineageRun:
    """Return the run that committed offsets of Kafka, by topic and partition, to branch `ingest`.

    Both tables are written: a table that got no row has this version, too.
    """
    namespace = f"kafka://{settings.kafka_bootstrap_servers.partition(',')[0]}"
    inputs = [LineageDataset(namespace, topic, offsets=dict(spans)) for topic, spans in sorted(offsets.items())]
    outputs = [lake_dataset(settings, table, commit_id) for table in BRONZE]
    return LineageRun(INGEST_JOB, tuple(inputs), tuple(outputs), at)


def build_run(settings: Settings, ingest_commit: str, commit_id: str, days: Days) -> LineageRun:
    """Return the run that built silver and gold of some days from bronze."""
    read = (lake_dataset(settings, BRONZE_TRADES, ingest_commit),)
    return LineageRun(BUILD_JOB, read, _built(settings, commit_id), datetime.now(UTC), days)


def publish_run(settings: Settings, audited: str, merged: str, days: Days) -> LineageRun:
    """Return the run that merged an audited commit into `main`."""
    return LineageRun(PUBLISH_JOB, _built(settings, audited), _built(settings, merged), datetime.now(UTC), days)


def load_run(settings: Settings, commit_id: str, tables: Sequence[str]) -> LineageRun:
    """Return the run that made tables of PostgreSQL equal to gold at a commit."""
    namespace = f"postgres://{_address(settings.database_dsn('reader'))}"
    read = tuple(lake_dataset(settings, f"gold/{table}", commit_id) for table in tables)
    written = tuple(LineageDataset(namespace, f"tickhouse.gold.{table}", commit_id) for table in tables)
    return LineageRun(LOAD_JOB, read, written, datetime.now(UTC))


def graph_run(settings: Settings, commit_id: str, tables: Sequence[str]) -> LineageRun:
    """Return the run that made the graph equal to gold at a commit."""
    read = tuple(lake_dataset(settings, table, commit_id) for table in tables)
    graph = LineageDataset(f"neo4j://{_address(settings.neo4j_url.get_secret_value())}", "market", commit_id)
    return LineageRun(GRAPH_JOB, read, (graph,), datetime.now(UTC))


def _built(settings: Settings, commit_id: str) -> tuple[LineageDataset, ...]:
    return tuple(lake_dataset(settings, table, commit_id) for table in BUILT)


def _address(url: str) -> str:
    """Return host and port of a URL, without login and path."""
    return url.partition("://")[2].rpartition("@")[2].partition("/")[0].partition("?")[0]
