"""Watch the connectors: restart what has failed, and see what says RUNNING and delivers nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from stack.engine.enabled import enabled_sinks
from tickhouse.connectors.files import Connector, read
from tickhouse.connectors.worker import Worker
from tickhouse.errors import StoreUnavailable
from tickhouse.settings import Settings
from tickhouse.stores import cassandra, elasticsearch, mongodb

# A store may be so much older than its topic: delivery takes a second; a restart of a store or of the worker, under
# load, a minute.
BOUND_S = 90.0

# Between two looks: a connector that reads a long history is far behind, but it moves.
PAUSE_S = 15.0


class Subject(NamedTuple):
    """Which time a connector's records have, and how to ask its store for the newest."""

    time_field: str
    newest_us: Callable[[Settings], int | None]


SUBJECTS = {
    "mongodb-trades": Subject("trade_time", lambda settings: mongodb.newest_us(settings, "trades")),
    "mongodb-trades-raw": Subject("trade_time", lambda settings: mongodb.newest_us(settings, "trades_raw")),
    "elasticsearch-trades": Subject(
        "trade_time", lambda settings: elasticsearch.newest_us(settings, "crypto-trades-*", "trade_time")
    ),
    "elasticsearch-ticks": Subject(
        "event_time", lambda settings: elasticsearch.newest_us(settings, "crypto-ticks-*", "event_time")
    ),
    "cassandra-trades": Subject("trade_time", cassandra.newest_us),
}


@dataclass(frozen=True)
class Look:
    """The newest event in a connector's topic and in its store, µs; None where there is none."""

    connector: str
    topic_us: int | None
    store_us: int | None

    @property
    def behind_s(self) -> float:
        """Return by how much the store's last event is older than the topic's; infinite for a store without any."""
        if self.topic_us is None:
            return 0.0
        return float("inf") if self.store_us is None else (self.topic_us - self.store_us) / 1e6

    def document(self) -> dict[str, Any]:
        """Return the look as JSON-ready values."""
        return asdict(self)


def of_enabled_stores(settings: Settings) -> dict[str, Connector]:
    """Return the connectors whose store takes part in this home."""
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
) -> list[Look]:
    """Look at every store, and again at those that are behind; return the last looks.

    Raises:
        StoreUnavailable: A store does not answer; or its last event is older than the topic's by more than the bound
            and stays the same, whatever its connector says.
    """
    looks = look(settings, connectors)
    late = [one for one in looks if one.behind_s > bound_s]
    if not late:
        return looks
    pause(PAUSE_S)
    again = look(settings, {one.connector: connectors[one.connector] for one in late})
    stuck = stuck_between(late, again, bound_s)
    if stuck:
        raise StoreUnavailable(
            "; ".join(describe(one) for one in stuck),
            safe="The topic keeps the events; what is missing is delivered once the cause is mended.",
            next_command=f"tickhouse connectors describe {stuck[0].connector}",
        )
    return again


def stuck_between(before: list[Look], after: list[Look], bound_s: float) -> list[Look]:
    """Return what is behind both times without having moved (pure)."""
    was = {one.connector: one.store_us for one in before}
    return [one for one in after if one.behind_s > bound_s and one.store_us == was[one.connector]]


def describe(one: Look) -> str:
    """Say how old a store's last event is."""
    age = "holds no event" if one.store_us is None else f"ends {one.behind_s:.0f} s before its topic"
    return f"The store of {one.connector} {age}, and nothing arrives"


def look(settings: Settings, connectors: Mapping[str, Connector]) -> list[Look]:
    """Ask topics and stores for their newest events.

    Raises:
        StoreUnavailable: Kafka, the registry or a store does not answer.
    """
    import httpx

    from tickhouse.reconcile.avro import Decoder, registry_fetch
    from tickhouse.reconcile.kafka import Topics

    known = {name: one for name, one in connectors.items() if name in SUBJECTS}
    topics = Topics(settings.kafka_bootstrap_servers)
    try:
        with httpx.Client(timeout=10, trust_env=False) as client:
            decoder = Decoder(registry_fetch(settings.schema_registry_url, client))
            newest = {
                topic: _newest_in(topics, decoder, topic, field)
                for topic, field in {one.topics[0]: SUBJECTS[name].time_field for name, one in known.items()}.items()
            }
    finally:
        topics.close()
    return [Look(name, newest[one.topics[0]], SUBJECTS[name].newest_us(settings)) for name, one in known.items()]


def _newest_in(topics: Any, decoder: Any, topic: str, field: str) -> int | None:
    """Return the newest time among the last records of all partitions; a record that does not decode has none."""
    from tickhouse.reconcile.avro import Undecodable

    ends = {number: (high - 1, high) for number, (low, high) in topics.ends(topic).items() if high > low}
    found = []
    for record in topics.scan(topic, ends) if ends else ():
        try:
            found.append(int(decoder.decode(record.value)[field]))
        except (Undecodable, KeyError):
            continue
    return max(found, default=None)
