"""The files of Grafana: dashboards, sources, and what the operations page reads of them."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from api.ops_boards import PROMETHEUS, RANGES_S, TAG, PanelQuery, ops_dashboards, step_of
from common.clients.influxdb import QUERIES
from common.settings import PORTS_FILE, REPO
from tickhouse.metrics.figures import KINDS

GRAFANA = REPO / "observe" / "grafana"
DASHBOARDS = {path.stem: json.loads(path.read_text()) for path in sorted((GRAFANA / "dashboards").glob("*.json"))}
PANELS = [(name, panel) for name, document in DASHBOARDS.items() for panel in document["panels"]]
SOURCES = yaml.safe_load((GRAFANA / "provisioning/datasources/tickhouse.yaml").read_text())["datasources"]
PORTS = yaml.safe_load(PORTS_FILE.read_text())


def test_the_asked_dashboards_are_there() -> None:
    titles = {document["title"] for document in DASHBOARDS.values()}
    assert titles == {"Market", "Pipeline health", "Kafka and Connect", "Lake and audits", "Machine"}


def test_ids_are_unique() -> None:
    uids = [document["uid"] for document in DASHBOARDS.values()]
    assert len(set(uids)) == len(uids)
    for document in DASHBOARDS.values():
        numbers = [panel["id"] for panel in document["panels"]]
        assert len(set(numbers)) == len(numbers), document["title"]


def test_titles_are_unique_on_a_dashboard() -> None:
    for document in DASHBOARDS.values():
        titles = [panel["title"] for panel in document["panels"]]
        assert len(set(titles)) == len(titles), document["title"]


def test_every_panel_says_what_it_shows() -> None:
    assert [panel["title"] for _, panel in PANELS if not panel["description"].endswith((".", "?"))] == []


def test_panels_do_not_overlap_and_stay_on_the_grid() -> None:
    for document in DASHBOARDS.values():
        cells = [cell for panel in document["panels"] for cell in cells_of(panel["gridPos"])]
        assert len(cells) == len(set(cells)), document["title"]
        assert max(x for x, _ in cells) < 24


def cells_of(place: dict[str, int]) -> list[tuple[int, int]]:
    return [
        (x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])
    ]


def test_every_source_of_a_panel_is_provisioned() -> None:
    provisioned = {one["uid"]: one["type"] for one in SOURCES}
    used = {
        (target["datasource"]["uid"], target["datasource"]["type"])
        for _, panel in PANELS
        for target in panel["targets"]
    }
    assert used == set(provisioned.items())


def test_sources_lead_to_the_ports_of_the_stack() -> None:
    for source in SOURCES:
        parts = urlsplit(source["url"] if "://" in source["url"] else f"//{source['url']}")
        assert parts.port == PORTS["base"] + PORTS["offsets"][source["uid"]], source["name"]
        assert parts.hostname == source["uid"]


def test_no_secret_is_in_a_file() -> None:
    secrets = [value for source in SOURCES for value in source.get("secureJsonData", {}).values()]
    assert len(secrets) == 2
    assert [value for value in secrets if not re.fullmatch(r"\$__(env|file)\{[^}]+\}", value)] == []


def test_flux_is_that_of_the_query_files() -> None:
    texts = {panel["title"]: target["query"] for _, panel in PANELS for target in panel["targets"] if "query" in target}
    bodies = [path.read_text() for path in QUERIES.glob("*.flux")]
    assert len(texts) == 4
    assert [title for title, text in texts.items() if not any(text.endswith(body) for body in bodies)] == []


def test_grafana_cannot_change_the_files() -> None:
    (provider,) = yaml.safe_load((GRAFANA / "provisioning/dashboards/tickhouse.yaml").read_text())["providers"]
    services = yaml.safe_load((REPO / "docker-compose.yml").read_text())["services"]
    assert not provider["allowUiUpdates"]
    assert f"./observe/grafana/dashboards:{provider['options']['path']}:ro" in services["grafana"]["volumes"]


# -- what the operations page reads ----------------------------------------------


def test_the_operations_page_has_every_dashboard_but_the_market() -> None:
    assert [one.title for one in ops_dashboards().values()] == [
        "Pipeline health",
        "Kafka and Connect",
        "Lake and audits",
        "Machine",
    ]


def test_the_operations_page_asks_prometheus_only() -> None:
    found = {
        target["datasource"]["uid"]
        for document in DASHBOARDS.values()
        if TAG in document["tags"]
        for panel in document["panels"]
        for target in panel["targets"]
    }
    assert found == {PROMETHEUS}


def test_the_page_can_draw_every_panel() -> None:
    units = set(re.findall(r'case "(\w+)"', (REPO / "api/page/assets/ops_units.js").read_text()))
    widths = set(re.findall(r'data-width="(\d+)"', (REPO / "api/page/assets/ops.css").read_text()))
    for board in ops_dashboards().values():
        for panel in board.panels:
            assert panel.kind in {"stat", "timeseries", "bargauge"}, panel.title
            assert panel.unit in units | {"none", "short"}, panel.title
            assert str(panel.width) in widths, panel.title
            assert {color for _, color in panel.thresholds} <= {"green", "yellow", "red"}, panel.title
            assert {color for _, color in panel.words.values()} <= {"green", "red"}, panel.title
            assert all(query.is_instant == (panel.kind != "timeseries") for query in panel.queries), panel.title


@pytest.mark.parametrize(
    ("range_s", "expected"),
    [(900, "rate(a[40s]) + b[10s]"), (3600, "rate(a[40s]) + b[30s]"), (86_400, "rate(a[730s]) + b[720s]")],
)
def test_variables_are_replaced_as_grafana_does(range_s: int, expected: str) -> None:
    query = PanelQuery("rate(a[$__rate_interval]) + b[${__interval}]", "", is_instant=False)
    assert query.promql(range_s) == expected


def test_every_range_has_at_most_121_points() -> None:
    assert {name: seconds // step_of(seconds) + 1 for name, seconds in RANGES_S.items()} == {
        "15m": 91,
        "1h": 121,
        "6h": 121,
        "24h": 121,
    }


def test_no_variable_is_left() -> None:
    texts = [
        query.promql(3600) for board in ops_dashboards().values() for panel in board.panels for query in panel.queries
    ]
    assert [text for text in texts if "$" in text] == []


@pytest.mark.parametrize(
    ("legend", "labels", "expected"),
    [
        ("{{store}} {{stream}}", {"store": "kafka", "stream": "t"}, "kafka t"),
        ("", {"a": "b"}, "Title"),
        ("{{x}}", {}, "Title"),
    ],
)
def test_a_series_has_a_name(legend: str, labels: dict[str, str], expected: str) -> None:
    assert PanelQuery("up", legend, is_instant=True).name_of(labels, "Title") == expected


def test_thresholds_begin_with_the_lowest() -> None:
    def values(panel: dict[str, Any]) -> list[float]:
        return [step["value"] for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]]

    for _, panel in PANELS:
        first, *others = values(panel)
        assert first is None
        assert others == sorted(others), panel["title"]


# -- names of metrics ------------------------------------------------------------

# What exporters and libraries of others give; that they are there is shown on the native servers.
FOREIGN = re.compile(r"(node|pg|redis|jvm)_\w+|ALERTS")
NAME = re.compile(r"(?<![\w{\"$.:])[a-zA-Z_][\w:]*_[\w:]*(?=[\s{\[)]|$)|ALERTS(?=\{)")


def test_every_metric_of_a_panel_is_exported() -> None:
    """A name that nobody exports any more would be an empty panel for ever."""
    texts = [target["expr"] for _, panel in PANELS for target in panel["targets"] if "expr" in target]
    used = {name for text in texts for name in NAME.findall(re.sub(r"by \([^)]*\)", "", text))}
    assert len(used) > 35
    assert {name for name in used - exported() if not FOREIGN.fullmatch(name)} == set()


def exported() -> set[str]:
    """Return the names of our own metrics, of the JMX agents' files, and of the recording rules."""
    ours = {f"tickhouse_{name}{'_total' if kind.is_counter else ''}" for name, kind in KINDS.items()}
    jmx = {
        name
        for path in (REPO / "observe/jmx").glob("*.yaml")
        for name in re.findall(r"name: (\w+)$", path.read_text(), re.M)
    }
    rules = yaml.safe_load((REPO / "observe/prometheus/rules/recording.yaml").read_text())["groups"]
    recorded = {rule["record"] for group in rules for rule in group["rules"]}
    return ours | jmx | recorded | {"tickhouse_gate_merges_total"}
