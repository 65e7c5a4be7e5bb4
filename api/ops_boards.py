"""The panels of the operations page: those of the Grafana dashboards that have the tag `ops`.

A panel is defined once, in `observe/grafana/dashboards`. Here its queries, unit, thresholds and
words are read. A client chooses a dashboard and one of a few time ranges; it cannot send a query.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from common.settings import REPO

FOLDER: Final = REPO / "observe" / "grafana" / "dashboards"
TAG: Final = "ops"
PROMETHEUS: Final = "prometheus"
# How often Prometheus reads the processes.
SCRAPE_S: Final = 10
# Ranges that can be chosen, in seconds.
RANGES_S: Final = {"15m": 900, "1h": 3600, "6h": 21_600, "24h": 86_400}
# A chart on the page is some hundred pixels wide.
POINTS: Final = 120
_VARIABLE: Final = re.compile(r"\$(?:\{(__\w+)\}|(__\w+))")
_LABEL: Final = re.compile(r"\{\{\s*(\w+)\s*\}\}")


@dataclass(frozen=True, slots=True)
class PanelQuery:
    """One PromQL query of a panel.

    Attributes:
        expression: PromQL, with Grafana's variables.
        legend: Name of a series; `{{label}}` stands for the label's value.
        is_instant: Only the newest value is wanted.
    """

    expression: str
    legend: str
    is_instant: bool

    def promql(self, range_s: int) -> str:
        """Return the query for a time range, with Grafana's variables replaced (pure)."""
        step_s = step_of(range_s)
        values = {
            "__interval": f"{step_s}s",
            # Grafana's own rule: always at least four scrapes, so that a rate has two samples.
            "__rate_interval": f"{max(step_s + SCRAPE_S, 4 * SCRAPE_S)}s",
            "__range": f"{range_s}s",
        }
        return _VARIABLE.sub(lambda found: values[found[1] or found[2]], self.expression)

    def name_of(self, labels: Mapping[str, str], otherwise: str) -> str:
        """Return the name of a series (pure).

        Args:
            labels: Of the series.
            otherwise: Name where the query has no legend.
        """
        return _LABEL.sub(lambda found: labels.get(found[1], ""), self.legend).strip() or otherwise


@dataclass(frozen=True, slots=True)
class OpsPanel:
    """One panel.

    Attributes:
        number: Its id in the dashboard.
        kind: `stat`, `timeseries` or `bargauge`.
        unit: Grafana's name of the unit, such as `s` or `bytes`.
        width: In columns of 24.
        thresholds: From which value on which colour holds, lowest first; the first value is None.
        words: The word and the colour that stand for a value.
    """

    number: int
    title: str
    description: str
    kind: str
    unit: str
    width: int
    thresholds: tuple[tuple[float | None, str], ...]
    words: Mapping[str, tuple[str, str]]
    queries: tuple[PanelQuery, ...]


@dataclass(frozen=True, slots=True)
class OpsDashboard:
    """A dashboard of the operations page."""

    uid: str
    title: str
    description: str
    panels: tuple[OpsPanel, ...]


def step_of(range_s: int) -> int:
    """Return the distance of two points of a range in seconds (pure)."""
    return max(SCRAPE_S, range_s // POINTS)


@cache
def ops_dashboards(folder: Path = FOLDER) -> dict[str, OpsDashboard]:
    """Return the dashboards by uid, pipeline health first, then by title."""
    documents = (json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json")))
    found = [_dashboard(one) for one in documents if TAG in one["tags"]]
    found.sort(key=lambda one: (one.uid != "tickhouse-pipeline", one.title))
    return {one.uid: one for one in found}


def _dashboard(document: dict[str, Any]) -> OpsDashboard:
    panels = tuple(_panel(one) for one in document["panels"])
    return OpsDashboard(document["uid"], document["title"], document["description"], panels)


def _panel(document: dict[str, Any]) -> OpsPanel:
    defaults = document["fieldConfig"]["defaults"]
    words = {
        value: (shown["text"], shown["color"])
        for mapping in defaults.get("mappings", ())
        for value, shown in mapping["options"].items()
    }
    return OpsPanel(
        number=document["id"],
        title=document["title"],
        description=document["description"],
        kind=document["type"],
        unit=defaults["unit"],
        width=document["gridPos"]["w"],
        thresholds=tuple((step["value"], step["color"]) for step in defaults["thresholds"]["steps"]),
        words=words,
        queries=tuple(PanelQuery(one["expr"], one["legendFormat"], one["instant"]) for one in document["targets"]),
    )
