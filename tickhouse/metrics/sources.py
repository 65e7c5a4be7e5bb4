"""Which stores there are, and how the figures of each are read: by the functions of the status."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from datetime import datetime
from functools import partial
from typing import Any, Final

import psutil

from common.clients.airflow import AirflowApi
from common.clients.kafka import TopicLog
from common.settings import Settings, home
from common.topics import CANDLES, ENRICHED_TRADES, TICKS, TRADES
from stack.engine import supervisor
from stack.engine.enabled import is_airflow_enabled
from stack.engine.privileges import nearest_existing
from stack.engine.processes import process_tree
from tickhouse.alerts.status_rules import open_gaps
from tickhouse.alerts.statuses import GapTable
from tickhouse.metrics import figures
from tickhouse.metrics.figures import Figure
from tickhouse.metrics.readers import Read
from tickhouse.status import alerts, pipeline, sinks
from tickhouse.status.kafka import kafka_offsets
from tickhouse.status.section import Section
from tickhouse.stream.query_state import progress, query_states

EVENT_TOPICS: Final = (TRADES, TICKS, ENRICHED_TRADES, CANDLES)
# Stores that hold something else than trades.
STREAMS: Final = {"geode": "statistics", "neo4j": "lake"}
# Section of the status to the store that it is about.
STORES: Final = {"connectors": "connect", "notifications": "rabbitmq"}
ENDED: Final = ("success", "failed")
OWN_PROGRAM: Final = "store_metrics"


def store_sources(settings: Settings) -> dict[str, Read]:
    """Return how to read each enabled store, by name."""
    found: dict[str, Read] = {
        "kafka": partial(_kafka, settings),
        "postgres": partial(_postgres, settings),
        "redis": partial(_stores_of_events, "redis", pipeline.latest_prices, settings),
        "lakefs": lambda: figures.lake_figures(pipeline.lake(settings)),
    }
    if is_airflow_enabled(settings):
        found["airflow"] = partial(_airflow, settings)
    readers = {**sinks.sections(settings), **alerts.sections(settings)}
    for name, read in readers.items():
        if name == "connectors":
            found["connect"] = partial(_converted, figures.connector_figures, read, settings)
        elif name == "notifications":
            found["rabbitmq"] = partial(_converted, figures.queue_figures, read, settings)
        elif name != "alerts":
            found[name] = partial(_stores_of_events, name, read, settings)
    return found


def local_sources() -> dict[str, Read]:
    """Return how to read what is on this machine: streaming queries, programs, disk."""
    return {"stream": _stream, "programs": _programs, "disk": _disk}


def _converted(
    convert: Callable[[Mapping[str, Any]], Iterator[Figure]], read: Callable[[Settings], Section], settings: Settings
) -> Iterator[Figure]:
    return convert(read(settings))


def _stores_of_events(store: str, read: Callable[[Settings], Section], settings: Settings) -> Iterator[Figure]:
    return figures.store_figures(store, read(settings), STREAMS.get(store, "trades"))


def _kafka(settings: Settings) -> Iterator[Figure]:
    yield from figures.kafka_figures(kafka_offsets(settings, EVENT_TOPICS), EVENT_TOPICS)
    # The topic is compacted and small: it has one value per gap.
    with closing(TopicLog.for_command(settings.kafka_bootstrap_servers)) as kafka:
        gaps = [*GapTable(kafka).read()]
    yield from figures.gap_figures(gaps, open_gaps(gaps).values(), figures.now_us())


def _postgres(settings: Settings) -> Iterator[Figure]:
    yield from figures.candle_figures(pipeline.candles(settings), time.time())
    yield from figures.alert_figures(alerts.alerts(settings))


def _airflow(settings: Settings) -> Iterator[Figure]:
    with AirflowApi(settings) as airflow:
        heartbeats, runs = airflow.heartbeats(), airflow.newest_runs()
    for component, at in heartbeats.items():
        yield Figure("airflow_heartbeat_age_seconds", _age_s(at), (component,))
    seen: set[tuple[str, str]] = set()
    for run in runs:
        dag = str(run["dag_id"])
        if ("age", dag) not in seen and run["start_date"]:
            seen.add(("age", dag))
            yield Figure("dag_last_run_age_seconds", _age_s(run["start_date"]), (dag,))
        if ("failed", dag) not in seen and run["state"] in ENDED:
            seen.add(("failed", dag))
            yield Figure("dag_last_run_failed", run["state"] == "failed", (dag,))


def _age_s(iso: str) -> float:
    return max(0.0, time.time() - datetime.fromisoformat(iso).timestamp())


def _stream() -> Iterator[Figure]:
    folder = home() / "stream"
    return figures.query_figures(query_states(folder), progress(folder).get("queries", {}))


def _programs() -> Iterator[Figure]:
    for name, state in supervisor.states().items():
        # Supervisord calls this program itself STARTING for some seconds while it already answers.
        yield Figure("program_running", state.state == "RUNNING" or name == OWN_PROGRAM, (name,))
        if state.pid:
            yield Figure("program_memory_bytes", sum(map(_memory, process_tree(state.pid))), (name,))


def _memory(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def _disk() -> Iterator[Figure]:
    usage = shutil.disk_usage(nearest_existing(home()))
    yield Figure("disk_free_bytes", usage.free)
    yield Figure("disk_total_bytes", usage.total)
