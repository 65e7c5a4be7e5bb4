"""The state of the enabled sink stores and their connectors, of Geode and of the graph."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from common.clients import cassandra, elasticsearch, geode, influxdb, mongodb, neo4j
from common.settings import Settings
from stack.engine.enabled import enabled_sinks, is_graph_enabled, is_series_enabled, is_statistics_enabled
from tickhouse.status.section import COUNT_S, Section


def sections(settings: Settings) -> dict[str, Callable[[Settings], Section]]:
    """Return a reader per enabled store, and one for the connectors if a sink is enabled."""
    readers: dict[str, Callable[[Settings], Section]] = {
        "mongodb": _mongodb,
        "elasticsearch": _elasticsearch,
        "cassandra": _cassandra,
    }
    enabled = enabled_sinks(settings)
    chosen = {name: readers[name] for name in enabled} | ({"connectors": _connectors} if enabled else {})
    chosen |= {"influxdb": _influxdb} if is_series_enabled(settings) else {}
    chosen |= {"geode": _geode} if is_statistics_enabled(settings) else {}
    return chosen | ({"neo4j": _neo4j} if is_graph_enabled(settings) else {})


def _mongodb(settings: Settings) -> Section:
    return {
        "documents": {name: mongodb.count(settings, name) for name in ("trades", "trades_raw")},
        "newest_trade_time_age_s": _age_s(mongodb.newest_us(settings, "trades")),
    }


def _elasticsearch(settings: Settings) -> Section:
    return {
        "documents": {name: elasticsearch.count(settings, f"crypto-{name}-*") for name in ("trades", "ticks")},
        "newest_trade_time_age_s": _age_s(elasticsearch.newest_us(settings, "crypto-trades-*", "trade_time")),
    }


def _cassandra(settings: Settings) -> Section:
    return {
        "rows": cassandra.count(settings, COUNT_S),
        "newest_trade_time_age_s": _age_s(cassandra.newest_us(settings)),
    }


def _geode(settings: Settings) -> Section:
    with geode.connected(settings, "reader") as client:
        newest = [int(one["newest_minute_us"]) for one in client.values(geode.STATISTICS)]
        return {
            "entries": {region: client.count(region) for region in geode.REGIONS},
            "newest_minute_age_s": _age_s(max(newest, default=None)),
        }


_GRAPH_STATE = """
OPTIONAL MATCH (loaded:LoadedCommit {graph: 'lake'})
RETURN loaded.commit_id AS commit, loaded.committed_at AS committed_at_s,
       COUNT { (:Symbol) } AS symbols, COUNT { (:TradedHour) } AS hours, COUNT { (:LoadedDay) } AS days
"""


def _neo4j(settings: Settings) -> Section:
    with neo4j.connected(settings, "reader") as graph:
        (state,) = graph.read(_GRAPH_STATE)
    committed_at_s = state.pop("committed_at_s")
    age_s = None if committed_at_s is None else round(time.time() - committed_at_s)
    return {"nodes": {name: state.pop(name) for name in ("symbols", "hours", "days")}, **state, "commit_age_s": age_s}


def _influxdb(settings: Settings) -> Section:
    last_hour = (
        f'from(bucket: "{influxdb.TRADES}") |> range(start: -1h, stop: 1h)'
        f' |> filter(fn: (r) => r._measurement == "{influxdb.MEASUREMENT}" and r._field == "trade_id")'
    )
    newest = f'{last_hour} |> last() |> group() |> max(column: "_time") |> map(fn: (r) => ({{at: int(v: r._time)}}))'
    with influxdb.connected(settings, "reader") as client:
        counts = [int(row["_value"]) for row in influxdb.rows_of(client, f"{last_hour} |> count() |> group() |> sum()")]
        times = [int(row["at"]) // 1000 for row in influxdb.rows_of(client, newest)]
    return {"points_of_last_hour": sum(counts), "newest_trade_time_age_s": _age_s(max(times, default=None))}


def _connectors(settings: Settings) -> Section:
    from common.clients.connect import Worker

    with Worker.of(settings) as worker:
        return {"state": {name: _state(status) for name, status in worker.statuses().items()}}


def _state(status: dict[str, Any]) -> str:
    """Return the worst state of a connector and its tasks."""
    states = {status["connector"]["state"], *(task["state"] for task in status["tasks"])}
    return next((state for state in ("FAILED", "UNASSIGNED", "PAUSED", "STOPPED") if state in states), "RUNNING")


def _age_s(time_us: int | None) -> float | None:
    return None if time_us is None else round(time.time() - time_us / 1e6, 1)
