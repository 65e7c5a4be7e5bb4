"""The page docs/reference/dashboards.md: its tables are made from the files and from measured rows.

`TICKHOUSE_UPDATE_SNAPSHOTS=1 .venv/bin/pytest tests/integration/boards` writes what the queries
returned; without it the page is compared.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from common.clients.influxdb import QUERIES
from common.settings import REPO
from compose.metabase.files import read_dashboards
from tests.integration.boards.grafana_queries import GrafanaQuery, queries

PAGE = REPO / "docs" / "reference" / "dashboards.md"
SOURCES = {"postgres": "PostgreSQL", "influxdb": "InfluxDB", "prometheus": "Prometheus"}
UNKNOWN = "not run"
HEAD = """\
# Dashboards

What each panel of Grafana and each card of Metabase asks, and how many rows or series it returned
on the native servers. The tables are made from the files; `rows` is what the last run of
`tests/integration/boards` measured. How to use the dashboards:
[Look at dashboards](../how-to/dashboards.md).

A query of Prometheus returned so many series. Those of Spark, Airflow and Connect are recorded
figures (`tests/integration/boards/recorded_metrics.py`), all others are of servers that ran.

Rows of PostgreSQL and InfluxDB are of a market of two symbols with one trade per minute: 30 hours
in PostgreSQL, one hour in InfluxDB. The queries that are drawn over time ask for one hour.

## Grafana
The files are in `observe/grafana/dashboards/`. The operations page `/ops` shows every dashboard but
the market from the same files.
"""
METABASE = """\
## Metabase
The files are in `observe/metabase/`. A card is one SQL file in `observe/metabase/cards/`.
"""


def key_of(query: GrafanaQuery) -> str:
    """Return the name of a query in the tables."""
    return query.name


def rendered(rows: Mapping[str, str]) -> str:
    """Return the page with these rows by name of query or card."""
    parts = [HEAD]
    for dashboard in dict.fromkeys(one.dashboard for one in queries()):
        chosen = [one for one in queries() if one.dashboard == dashboard]
        cells = [[_title(one), SOURCES[one.source], _text(one), rows.get(key_of(one), UNKNOWN)] for one in chosen]
        parts.append(f"### {dashboard}\n\n{_table(['panel', 'source', 'query', 'rows'], cells)}")
    parts.append(METABASE)
    for board in read_dashboards():
        cells = [
            [card.title, f"`{card.name}.sql`", card.description(), rows.get(card.name, UNKNOWN)] for card in board.cards
        ]
        parts.append(f"### {board.name}\n\n{_table(['card', 'file', 'what it shows', 'rows'], cells)}")
    return "\n".join(parts)


def measured(text: str) -> dict[str, str]:
    """Return the rows that a page has, by name of query or card."""
    found: dict[str, str] = {}
    dashboard = ""
    for line in text.splitlines():
        if line.startswith("### "):
            dashboard = line.removeprefix("### ")
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) == 4 and cells[1] in SOURCES.values():
            found[f"{dashboard}: {cells[0]}"] = cells[3]
        elif len(cells) == 4 and cells[1].endswith(".sql`"):
            found[cells[1].strip("`").removesuffix(".sql")] = cells[3]
    return found


def update(rows: Mapping[str, int]) -> None:
    """Write measured rows into the page; other rows stay."""
    before = measured(PAGE.read_text()) if PAGE.exists() else {}
    PAGE.write_text(rendered(before | {name: f"{count:,}" for name, count in rows.items()}))


def _title(query: GrafanaQuery) -> str:
    return query.name.removeprefix(f"{query.dashboard}: ")


def _text(query: GrafanaQuery) -> str:
    target: dict[str, Any] = query.target
    if query.source == "influxdb":
        name = next(path.name for path in sorted(QUERIES.glob("*.flux")) if target["query"].endswith(path.read_text()))
        return f"`stack/influxdb/queries/{name}`"
    text = " ".join((target.get("expr") or target["rawSql"]).split())
    return "`" + text.replace("|", "\\|") + "`"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines).replace(
        "| --- | --- | --- | --- |", "|---|---|---|---|"
    )
