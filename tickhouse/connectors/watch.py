"""Watch the connectors: restart those that failed, and find those that run but deliver nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from common.clients import cassandra, elasticsearch, mongodb
from common.clients.avro import AvroDecoder, Undecodable, registry_lookup
from common.clients.connect import Worker
from common.clients.kafka import TopicLog
from common.errors import StoreUnavailable
from common.settings import Settings
from stack.engine.enabled import enabled_sinks
from tickhouse.connectors.files import Connector, read

# How much older than its topic a store may be. Delivery takes a second; a restart of a store or of
# the worker takes a minute under load.
BOUND_S = 90.0

# Pause between two checks: a connector that reads a long history is late, but it advances.
PAUSE_S = 15.0


class FreshnessSource(NamedTuple):
    """The time field of a connector's records, and a function for its newest stored time."""

    time_field: str
    newest_us: Callable[[Settings], int | None]


SOURCES = {
    "mongodb-trades": FreshnessSource("trade_time", lambda settings: mongodb.newest_us(settings, "trades")),
    "mongodb-trades-raw": FreshnessSource("trade_time", lambda settings: mongodb.newest_us(settings, "trades_raw")),
    "elasticsearch-trades": FreshnessSource(
        "trade_time", lambda settings: elasticsearch.newest_us(settings, "crypto-trades-*", "trade_time")
    ),
    "elasticsearch-ticks": FreshnessSource(
        "event_time", lambda settings: elasticsearch.newest_us(settings, "crypto-ticks-*", "event_time")
    ),
    "cassandra-trades": FreshnessSource("trade_time", cassandra.newest_us),
}


@dataclass(frozen=True)
class Freshness:
    """The newest event in a connector's topic and in its store, µs; None where there is none."""

    connector: str
    topic_us: int | None
    store_us: int | None

    @property
    def behind_s(self) -> float:
        """Return how much older the store's newest event is than the topic's.

        It is infinite for an empty store.
        """
        if self.topic_us is None:
            return 0.0
        return float("inf") if self.store_us is None else (self.topic_us - self.store_us) / 1e6

    def document(self) -> dict[str, Any]:
        """Return the times as JSON-ready values."""
        return asdict(self)


def of_enabled_stores(settings: Settings) -> dict[str, Connector]:
    """Return the connectors whose store is enabled in this home."""
    enabled = enabled_sinks(settings)
    return {name: connector for name, connector in read().items() if connector.store in enabled}


def restart_failed(worker: Worker, connectors: Mapping[str, Connector]) -> list[str]:
    """Restart the connectors and tasks that have failed; return the connectors' names.

    Raises:
        ServiceNotReady: The worker does not answer.
    """
    statuses = worker.statuses()
    failed = [name for name, status in statuses.items() if name in connectors and has_failed(status)]
    for name in failed:
        worker.restart(name, only_failed=True)
    return failed


def has_failed(status: Mapping[str, Any]) -> bool:
    """Return whether a connector or one of its tasks has failed, by the worker's status."""
    return "FAILED" in {status["connector"]["state"], *(task["state"] for task in status["tasks"])}


def require_fresh(
    settings: Settings,
    connectors: Mapping[str, Connector],
    bound_s: float = BOUND_S,
    pause: Callable[[float], None] = time.sleep,
) -> list[Freshness]:
    """Compare every store with its topic, and compare late stores a second time after a pause.

    If any store was late, only the results of the second comparison are returned.

    Raises:
        StoreUnavailable: A store does not answer; or its newest event is older than the topic's by
            more than the bound and did not advance, even if its connector is RUNNING.
    """
    found = newest_events(settings, connectors)
    late = [one for one in found if one.behind_s > bound_s]
    if not late:
        return found
    pause(PAUSE_S)
    again = newest_events(settings, {one.connector: connectors[one.connector] for one in late})
    stuck = stuck_stores(late, again, bound_s)
    if stuck:
        raise StoreUnavailable(
            "; ".join(describe(one) for one in stuck),
            safe="The topic keeps the events; what is missing is delivered after the cause is fixed.",
            next_command=f"tickhouse connectors describe {stuck[0].connector}",
        )
    return again


def stuck_stores(before: list[Freshness], after: list[Freshness], bound_s: float) -> list[Freshness]:
    """Return the stores that were late both times and did not advance (pure)."""
    was = {one.connector: one.store_us for one in before}
    return [one for one in after if one.behind_s > bound_s and one.store_us == was[one.connector]]


def describe(freshness: Freshness) -> str:
    """Return a text about how old a store's newest event is."""
    age = "holds no event" if freshness.store_us is None else f"ends {freshness.behind_s:.0f} s before its topic"
    return f"The store of {freshness.connector} {age}, and nothing arrives"


def newest_events(settings: Settings, connectors: Mapping[str, Connector]) -> list[Freshness]:
    """Return the newest event of each connector's topic and store.

    Raises:
        StoreUnavailable: Kafka, the registry or a store does not answer.
    """
    import httpx

    known = {name: one for name, one in connectors.items() if name in SOURCES}
    kafka = TopicLog.for_command(settings.kafka_bootstrap_servers)
    try:
        with httpx.Client(timeout=10, trust_env=False) as client:
            decoder = AvroDecoder(registry_lookup(settings.schema_registry_url, client))
            time_fields = {one.topics[0]: SOURCES[name].time_field for name, one in known.items()}
            newest = {topic: _newest_in(kafka, decoder, topic, field) for topic, field in time_fields.items()}
    finally:
        kafka.close()
    return [Freshness(name, newest[one.topics[0]], SOURCES[name].newest_us(settings)) for name, one in known.items()]


def _newest_in(kafka: TopicLog, decoder: AvroDecoder, topic: str, field: str) -> int | None:
    """Return the newest time in the last record of each partition; undecodable ones are skipped."""
    last = {partition: high - 1 for partition, (_, high) in kafka.bounds(topic).items()}
    times_us = []
    for record in kafka.records(topic, start=last):
        try:
            times_us.append(int(decoder.decode(record.value)[field]))
        except (Undecodable, KeyError):
            continue
    return max(times_us, default=None)
