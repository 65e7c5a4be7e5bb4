"""The metrics of the stores: their names, and the values in what was read (pure)."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from tickhouse.alerts.status_rules import OpenGap
from tickhouse.status.kafka import KafkaOffsets
from tickhouse.stream.query_state import QueryState

PREFIX: Final = "tickhouse_"


@dataclass(frozen=True, slots=True)
class MetricKind:
    """What a metric is: its description, its labels, and whether it only grows."""

    text: str
    labels: tuple[str, ...] = ()
    is_counter: bool = False


# Every metric of the stores, by name without the prefix; docs/reference/metrics.md lists them too.
KINDS: Final[Mapping[str, MetricKind]] = {
    "store_up": MetricKind("1: the last read of the store succeeded, and is fresh.", ("store",)),
    "store_read_seconds": MetricKind("How long the last read of the store took.", ("store",)),
    "store_read_age_seconds": MetricKind("Age of the figures of the store.", ("store",)),
    "event_age_seconds": MetricKind("Age of the newest event in the store.", ("store", "stream")),
    "topic_written_records": MetricKind("Records ever written to the topic.", ("topic",), is_counter=True),
    "topic_records": MetricKind("Records that the topic keeps.", ("topic",)),
    "consumer_read_records": MetricKind("Records that the consumer has read.", ("consumer",), is_counter=True),
    "consumer_lag_records": MetricKind("Records that the consumer has still to read.", ("consumer",)),
    "dead_letters": MetricKind("Dead letters that the topic keeps.", ("topic",)),
    "gaps_open_ids": MetricKind("Ids that are missing in open gaps.", ("market", "stream")),
    "gaps_oldest_age_seconds": MetricKind("Age of the oldest open gap; 0 without one.", ("market", "stream")),
    "query_active": MetricKind("1: the streaming query runs.", ("query",)),
    "query_failures": MetricKind("Failures of the query since its last batch.", ("query",)),
    "query_lost_ranges": MetricKind("Offset ranges that the query lost, and that are not repaired.", ("query",)),
    "query_batch_seconds": MetricKind("Duration of the last batch of the query.", ("query",)),
    "query_batch_records": MetricKind("Records in the last batch of the query.", ("query",)),
    "lake_commit_age_seconds": MetricKind("Age of the newest commit of the branch.", ("branch",)),
    "audit_age_seconds": MetricKind("Age of the newest audit."),
    "audit_passed": MetricKind("1: the newest audit passed."),
    "connector_running": MetricKind("1: the connector and all its tasks run.", ("connector",)),
    "notifications_waiting": MetricKind("Notifications that wait in the queue of the channel.", ("channel",)),
    "notifications_dead": MetricKind("Notifications that were given up."),
    "notification_workers": MetricKind("Workers that take from the queue of the channel.", ("channel",)),
    "alerts_recorded": MetricKind("Alerts in PostgreSQL.", ("kind",)),
    "airflow_heartbeat_age_seconds": MetricKind("Age of the newest heartbeat.", ("component",)),
    "dag_last_run_age_seconds": MetricKind("Age of the newest run of the DAG.", ("dag",)),
    "dag_last_run_failed": MetricKind("1: the newest run of the DAG that has ended failed.", ("dag",)),
    "disk_free_bytes": MetricKind("Free space on the disk of the home."),
    "disk_total_bytes": MetricKind("Size of the disk of the home."),
    "program_running": MetricKind("1: the program runs.", ("program",)),
    "program_memory_bytes": MetricKind("Resident memory of the program and its children.", ("program",)),
}


@dataclass(frozen=True, slots=True)
class Figure:
    """One value of a metric; `name` is a key of `KINDS`."""

    name: str
    value: float
    labels: tuple[str, ...] = ()


def families(figures: Iterable[Figure]) -> Iterator[Metric]:
    """Yield the figures as metrics, in the order of `KINDS`.

    Args:
        figures: Values whose labels match their kind.
    """
    found: dict[str, list[Figure]] = {}
    for figure in figures:
        found.setdefault(figure.name, []).append(figure)
    for name, kind in KINDS.items():
        if name not in found:
            continue
        make = CounterMetricFamily if kind.is_counter else GaugeMetricFamily
        family = make(f"{PREFIX}{name}", kind.text, labels=kind.labels)
        for figure in found[name]:
            family.add_metric(list(figure.labels), figure.value)
        yield family


def kafka_figures(found: KafkaOffsets, topics: Iterable[str]) -> Iterator[Figure]:
    """Yield what is in Kafka, and how far each consumer is.

    Args:
        found: The offsets.
        topics: The topics of events, whose age counts.
    """
    for topic, ends in found.ends.items():
        yield Figure("topic_written_records", sum(ends.values()), (topic,))
        yield Figure("topic_records", found.records[topic], (topic,))
    for topic, count in found.dead_letters.items():
        yield Figure("dead_letters", count, (topic,))
    for consumer, offsets in found.consumers.items():
        yield Figure("consumer_read_records", sum(sum(one.values()) for one in offsets.values()), (consumer,))
    for consumer, lag in found.lags.items():
        yield Figure("consumer_lag_records", lag, (consumer,))
    for topic in topics:
        yield from _age("kafka", topic, found.newest_age_s(topic))


def gap_figures(values: Iterable[Mapping[str, Any]], open_gaps: Iterable[OpenGap], now_us: int) -> Iterator[Figure]:
    """Yield the open gaps by market and stream; a stream whose gaps are all closed has zeros.

    Args:
        values: The latest value of every gap, open or closed.
        open_gaps: The oldest open gap per symbol, with the sum of its missing ids.
        now_us: The time.
    """
    ids = {(gap["market"], gap["stream"]): 0 for gap in values}
    oldest_us: dict[tuple[str, str], int] = {}
    for gap in open_gaps:
        key = (gap.market, gap.stream)
        ids[key] = ids.get(key, 0) + gap.ids
        oldest_us[key] = min(oldest_us.get(key, gap.detected_us), gap.detected_us)
    for key, count in ids.items():
        yield Figure("gaps_open_ids", count, key)
        yield Figure("gaps_oldest_age_seconds", max(0.0, (now_us - oldest_us.get(key, now_us)) / 1e6), key)


def query_figures(states: Iterable[QueryState], reported: Mapping[str, Mapping[str, Any]]) -> Iterator[Figure]:
    """Yield the state of each streaming query, and what its last batch took.

    Args:
        states: The states.
        reported: What the driver reported of each query; ignored for queries that do not run.
    """
    for query in states:
        labels = (query.name,)
        yield Figure("query_active", query.state == "active", labels)
        yield Figure("query_failures", query.failures, labels)
        yield Figure("query_lost_ranges", len(query.lost), labels)
        last = reported.get(query.name, {})
        duration_ms = (last.get("duration_ms") or {}).get("triggerExecution")
        if query.state == "active" and duration_ms is not None:
            yield Figure("query_batch_seconds", duration_ms / 1000, labels)
            yield Figure("query_batch_records", last.get("records") or 0, labels)


def candle_figures(section: Mapping[str, Any], now_s: float) -> Iterator[Figure]:
    """Yield the age of the newest candle; it is 0 while its minute is not over."""
    newest = section["newest_bar"]
    yield from _age("postgres", "candles", None if newest is None else now_s - newest.timestamp() - 60)


def store_figures(store: str, section: Mapping[str, Any], stream: str = "trades") -> Iterator[Figure]:
    """Yield the age of the newest event in the section of a store."""
    ages = ("newest_trade_time_age_s", "newest_minute_age_s", "commit_age_s")
    age_s = next((section[name] for name in ages if section.get(name) is not None), None)
    yield from _age(store, stream, age_s)


def lake_figures(section: Mapping[str, Any]) -> Iterator[Figure]:
    """Yield the ages of the branches, and age and result of the newest audit."""
    for branch, age_s in (("ingest", section["age_s"]), ("main", section["main_age_s"])):
        yield Figure("lake_commit_age_seconds", age_s, (branch,))
    audit = section["newest_audit"]
    if audit is not None:
        yield Figure("audit_age_seconds", audit["age_s"])
        yield Figure("audit_passed", audit["is_passed"])


def connector_figures(section: Mapping[str, Any]) -> Iterator[Figure]:
    """Yield whether each connector runs."""
    for connector, state in section["state"].items():
        yield Figure("connector_running", state == "RUNNING", (connector,))


def queue_figures(section: Mapping[str, Any]) -> Iterator[Figure]:
    """Yield what waits in the queues of the notifications, and who takes it."""
    for channel, count in section["waiting"].items():
        yield Figure("notifications_waiting", count, (channel,))
    for channel, count in section["workers"].items():
        yield Figure("notification_workers", count, (channel,))
    yield Figure("notifications_dead", section["dead"])


def alert_figures(section: Mapping[str, Any]) -> Iterator[Figure]:
    """Yield how many alerts are recorded."""
    for kind, count in section["rang"].items():
        yield Figure("alerts_recorded", count, (kind,))


def _age(store: str, stream: str, age_s: float | None) -> Iterator[Figure]:
    # The clock of an exchange may be ahead of ours.
    if age_s is not None and math.isfinite(age_s):
        yield Figure("event_age_seconds", max(0.0, age_s), (store, stream))


def now_us() -> int:
    """Return the time in microseconds since 1970."""
    return time.time_ns() // 1000
