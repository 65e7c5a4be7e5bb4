"""What the stores of profile `sinks` hold right now, and how their connectors feel; nothing of a store that is off."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from stack.engine.enabled import enabled_sinks
from tickhouse.settings import Settings
from tickhouse.stores import cassandra, elasticsearch, mongodb

Section = dict[str, Any]


def sections(settings: Settings) -> dict[str, Callable[[Settings], Section]]:
    """Return the section of each store that is enabled, and of the connectors when any is."""
    readers: dict[str, Callable[[Settings], Section]] = {
        "mongodb": _mongodb,
        "elasticsearch": _elasticsearch,
        "cassandra": _cassandra,
    }
    enabled = enabled_sinks(settings)
    found = {name: readers[name] for name in enabled}
    return found | ({"connectors": _connectors} if enabled else {})


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
    return {"rows": cassandra.count(settings), "newest_trade_time_age_s": _age_s(cassandra.newest_us(settings))}


def _connectors(settings: Settings) -> Section:
    from tickhouse.connectors.worker import Worker

    with Worker(settings.connect_url) as worker:
        return {"state": {name: _state(status) for name, status in worker.statuses().items()}}


def _state(status: dict[str, Any]) -> str:
    """Return a connector's state, or the worst of its tasks' when that is worse."""
    states = {status["connector"]["state"], *(task["state"] for task in status["tasks"])}
    return next((state for state in ("FAILED", "UNASSIGNED", "PAUSED", "STOPPED") if state in states), "RUNNING")


def _age_s(time_us: int | None) -> float | None:
    return None if time_us is None else round(time.time() - time_us / 1e6, 1)
