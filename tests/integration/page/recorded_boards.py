"""Boards of the operations page as the API answers them: the dashboards with chosen values."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from api.ops_boards import OpsPanel, ops_dashboards, step_of

Json = dict[str, Any]
RANGE_S = 3600
STORES = (
    "kafka",
    "postgres",
    "redis",
    "lakefs",
    "airflow",
    "mongodb",
    "elasticsearch",
    "cassandra",
    "neo4j",
    "influxdb",
)


def recorded_boards(now: datetime, series: Callable[[OpsPanel, float], list[Json]] | None = None) -> dict[str, Json]:
    """Return an answer for every board.

    Args:
        now: Time of the newest point.
        series: Gives the series of a panel; an ordinary day by default.
    """
    at = now.timestamp() // 10 * 10
    give = series or ordinary_day
    return {
        board.uid: {
            "board": board.uid,
            "title": board.title,
            "description": board.description,
            "at": at,
            "range_s": RANGE_S,
            "step_s": step_of(RANGE_S),
            "panels": [panel_answer(panel, give(panel, at)) for panel in board.panels],
        }
        for board in ops_dashboards().values()
    }


def panel_answer(panel: OpsPanel, series: list[Json], problem: str | None = None) -> Json:
    return {
        "panel": panel.number,
        "title": panel.title,
        "description": panel.description,
        "kind": panel.kind,
        "unit": panel.unit,
        "width": panel.width,
        "thresholds": [{"at_least": value, "color": color} for value, color in panel.thresholds],
        "words": {value: {"text": text, "color": color} for value, (text, color) in panel.words.items()},
        "series": series,
        "problem": problem,
    }


def ordinary_day(panel: OpsPanel, at: float) -> list[Json]:
    """One value per stat, ten names elsewhere; the store neo4j is down and Cassandra is behind."""
    if panel.kind == "stat":
        return [{"name": panel.title, "points": [[at, 1.0 if panel.words else float(panel.number - 1)]]}]
    if panel.kind == "bargauge":
        is_store = panel.title == "Stores"
        return [{"name": name, "points": [[at, 0.0 if is_store and name == "neo4j" else 1.0]]} for name in STORES]
    step = step_of(RANGE_S)
    times = [at - RANGE_S + n * step for n in range(RANGE_S // step + 1)]
    return [
        {"name": name, "points": [[time, 10.0 * (k + 1) + 5 * math.sin(time / 300 + k)] for time in times]}
        for k, name in enumerate(STORES)
    ]


def firing(name: str, severity: str, now: datetime, state: str = "firing") -> Json:
    return {
        "alert": name,
        "severity": severity,
        "state": state,
        "since": (now - timedelta(minutes=4)).isoformat().replace("+00:00", "Z"),
        "summary": f"{name}: cassandra is 340 s behind crypto.trades",
        "description": "",
        "runbook": "docs/runbook/store-down.md",
        "labels": {"store": "cassandra"},
    }
