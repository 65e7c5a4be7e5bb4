"""The queries of the Grafana dashboards, with Grafana's variables replaced as Grafana does."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from common.settings import REPO

FOLDER = REPO / "observe" / "grafana" / "dashboards"
VARIABLES = {"market": "spot", "symbol": "BTCUSDT", "stream": "aggTrade"}


@dataclass(frozen=True)
class GrafanaQuery:
    """One target of one panel."""

    dashboard: str
    panel: str
    kind: str
    source: str
    target: dict[str, Any]

    @property
    def name(self) -> str:
        return f"{self.dashboard}: {self.panel}{'' if self.target['refId'] == 'A' else ' ' + self.target['refId']}"

    def sql(self, start: datetime, stop: datetime) -> str:
        """Return SQL for PostgreSQL: macros of Grafana's source, then the dashboard's variables."""
        first, last = (f"'{moment:%Y-%m-%dT%H:%M:%SZ}'" for moment in (start, stop))
        text = re.sub(r"\$__timeFilter\((\w+)\)", rf"\1 BETWEEN {first} AND {last}", self.target["rawSql"])
        return _with_variables(text.replace("$__timeFrom()", first).replace("$__timeTo()", last))

    def flux(self, start: datetime, stop: datetime) -> str:
        """Return Flux for InfluxDB."""
        first, last = (f"{moment:%Y-%m-%dT%H:%M:%SZ}" for moment in (start, stop))
        text = self.target["query"].replace("v.timeRangeStart", first).replace("v.timeRangeStop", last)
        return _with_variables(text)


def _with_variables(text: str) -> str:
    replaced = re.sub(r"\$\{?(\w+)\}?", lambda found: VARIABLES.get(found[1], found[0]), text)
    assert "$" not in replaced, f"Expected every variable to be known: {replaced}"
    return replaced


def queries(source: str = "") -> list[GrafanaQuery]:
    """Return the queries of all dashboards, or of one source: postgres, influxdb, prometheus."""
    documents = [json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))]
    found = [
        GrafanaQuery(document["title"], panel["title"], panel["type"], target["datasource"]["uid"], target)
        for document in documents
        for panel in document["panels"]
        for target in panel["targets"]
    ]
    return [one for one in found if source in ("", one.source)]
