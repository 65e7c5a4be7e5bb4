"""The typed form of `stack/retention.yaml`, and the rules between its values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from common.errors import ConfigurationError
from common.settings import REPO
from common.topics import ALERTS, ENRICHED_TRADES, PRODUCER_DEAD_LETTERS, TICKS, TRADES

FILE = REPO / "stack" / "retention.yaml"
TOPICS_FILE = REPO / "schemas" / "topics.yaml"
_DAY_MS = 86_400_000


class _DeclarationModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class KeptDays(_DeclarationModel):
    """Data that is kept for a number of days."""

    days: int = Field(ge=1)


class CandlesKept(KeptDays):
    """Partitions of `market.candles_1m`."""

    months_ahead: int = Field(ge=1)
    most_partitions: int = Field(ge=12)


class IndicesKept(KeptDays):
    """Indices of Elasticsearch, for each kind (trades, ticks, logs)."""

    most_indices: int = Field(ge=2)


class SeriesKept(KeptDays):
    """Points of InfluxDB, and its roll-ups to seconds and minutes."""

    seconds_days: int = Field(ge=1)
    minutes_days: int = Field(ge=1)


class BranchesKept(_DeclarationModel):
    """Work branches of the nightly batch."""

    merged_days: int = Field(ge=1)
    failed_days: int = Field(ge=1)


class MetricsKept(KeptDays):
    """Metrics of Prometheus, which removes them itself."""

    most_mb: int = Field(ge=100)


class FilesKept(KeptDays):
    """Files below one folder of the home; `most_mb` limits a file that is still written to."""

    name: str
    path: str
    most_mb: int | None = Field(default=None, ge=1)


class RetentionDeclaration(_DeclarationModel):
    """The whole file; each field is described in it."""

    candles: CandlesKept
    redrives: KeptDays
    elasticsearch: IndicesKept
    cassandra: KeptDays
    mongodb: KeptDays
    geode: KeptDays
    neo4j: KeptDays
    influxdb: SeriesKept
    bronze: KeptDays
    branches: BranchesKept
    airflow: KeptDays
    data_docs: KeptDays
    truth: KeptDays
    logs: IndicesKept
    alerts: KeptDays
    prometheus: MetricsKept
    files: tuple[FilesKept, ...] = ()


# A dead letter is written after its file was recorded, and retention runs once per day.
SPARE_DAYS = 2
# Stores of events. Each must keep them longer than the topics do, because reconcile compares it
# with what Kafka still has.
EVENT_STORES = ("candles", "elasticsearch", "cassandra", "mongodb", "influxdb", "geode", "bronze")


def load(path: Path = FILE, topics_path: Path = TOPICS_FILE) -> RetentionDeclaration:
    """Read the declaration.

    Raises:
        ConfigurationError: A value is missing, unknown or out of range. Or data is kept for less
            time than the data that it is compared with: a store than Kafka's topics, redrives than
            the dead letters, dead letters than the truth.
    """
    try:
        declared = RetentionDeclaration.model_validate(yaml.safe_load(path.read_text()))
    except (ValidationError, yaml.YAMLError) as error:
        raise ConfigurationError(f"{path.name} does not load: {error}") from error
    topics: dict[str, Any] = yaml.safe_load(topics_path.read_text())["topics"]
    events = max(_days(topics, name) for name in (TRADES, ENRICHED_TRADES, TICKS))
    for store in EVENT_STORES:
        _require(f"{store}.days", getattr(declared, store).days, events, "the topics of events")
    letters = _days(topics, PRODUCER_DEAD_LETTERS)
    _require("redrives.days", declared.redrives.days, letters, "the dead letters")
    _require("alerts.days", declared.alerts.days, _days(topics, ALERTS), "the topic of alerts")
    if declared.truth.days > letters - SPARE_DAYS:
        most = f"{letters - SPARE_DAYS:g}, so that a file's dead letters are kept longer than its entry"
        raise ConfigurationError(f"truth.days: expected at most {most}, was {declared.truth.days}.")
    return declared


def _days(topics: dict[str, Any], name: str) -> float:
    return int(topics[name]["config"]["retention.ms"]) / _DAY_MS


def _require(name: str, days: int, least: float, why: str) -> None:
    if days < least:
        raise ConfigurationError(f"{name}: expected at least {least:g}, like {why}, was {days}.")
