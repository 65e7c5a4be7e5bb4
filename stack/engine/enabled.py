"""Which stores are enabled: started in this home, or external."""

from __future__ import annotations

import os

from common.settings import Settings
from stack.engine import supervisor

# Store to the setting that holds its address.
SINKS = {
    "mongodb": "mongodb_uri",
    "elasticsearch": "elasticsearch_url",
    "cassandra": "cassandra_contact_points",
}


def enabled_sinks(settings: Settings) -> tuple[str, ...]:
    """Return the stores that should hold every event; a store that has failed still counts."""
    known = supervisor.states()
    return tuple(store for store, setting in SINKS.items() if store in known or _is_given(settings, setting))


def is_airflow_enabled(settings: Settings) -> bool:
    """Return whether Airflow belongs to this stack; parts of a stack run without it."""
    return "airflow-scheduler" in supervisor.states() or _is_given(settings, "airflow_url")


def is_graph_enabled(settings: Settings) -> bool:
    """Return whether the graph should follow the lake; a Neo4j that has failed still counts."""
    return "neo4j" in supervisor.states() or _is_given(settings, "neo4j_url")


def is_statistics_enabled(settings: Settings) -> bool:
    """Return whether Geode should hold the statistics; a Geode that has failed still counts."""
    return "geode" in supervisor.states() or _is_given(settings, "geode_url")


def is_queue_enabled(settings: Settings) -> bool:
    """Return whether alerts become notifications; a RabbitMQ that has failed still counts."""
    return "rabbitmq" in supervisor.states() or _is_given(settings, "rabbitmq_url")


def is_series_enabled(settings: Settings) -> bool:
    """Return whether InfluxDB should hold every trade; one that has failed still counts."""
    return "influxdb" in supervisor.states() or _is_given(settings, "influxdb_url")


def _is_given(settings: Settings, setting: str) -> bool:
    # With docker compose an empty variable means that the profile is off.
    return settings.is_external(setting) and bool(os.environ.get(setting.upper()))
