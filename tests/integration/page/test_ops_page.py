"""A person looks at the operations page: boards, alerts, what is off, keys, phone, both themes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from selenium.webdriver.common.keys import Keys

from api.ops_boards import OpsPanel
from tests.eventually import eventually
from tests.integration.page.browser import PATIENT_S, OpenPage
from tests.integration.page.recorded_api import RecordedApi
from tests.integration.page.recorded_boards import firing, ordinary_day, panel_answer, recorded_boards
from tests.integration.page.test_accessibility import PHONE, axe, emulate, violations

__all__ = ["axe"]  # a fixture
OFF = (
    503,
    {"title": "A store is not enabled", "detail": "Prometheus does not run.", "next": "tickhouse up --profile observe"},
)


@pytest.fixture
def ops(page: OpenPage, api: RecordedApi, now: datetime) -> OpenPage:
    """The page, with a server that knows an ordinary day; it is not open yet."""
    api.boards = recorded_boards(now)
    page.url += "/ops"
    return page


def opened(ops: OpenPage, fragment: str = "") -> OpenPage:
    ops.browser.get("about:blank")
    ops.browser.get(f"{ops.url}{fragment}")
    ops.shows("#connection", "live")
    return ops


def panel_text(ops: OpenPage, title: str) -> str:
    script = (
        "const all = [...document.querySelectorAll('#panels section')];"
        "const s = all.find((p) => p.querySelector('h3').textContent === arguments[0]);"
        "return s ? s.innerText.replace(/\\s+/g, ' ') : ''"
    )
    return str(ops.run(script, title))


def test_a_synthetic_market_is_told(ops: OpenPage, api: RecordedApi) -> None:
    opened(ops).shows("#market-kind", "SIMULATED")

    api.status["is_synthetic"] = False
    badge = "return document.getElementById('market-kind').hidden"
    opened(ops)
    eventually(lambda: ops.run(badge), timeout_s=PATIENT_S)


def test_every_panel_of_the_board_is_there_with_its_values(ops: OpenPage, api: RecordedApi) -> None:
    opened(ops)
    board = api.boards["tickhouse-pipeline"]
    assert ops.text("#board-title") == "Pipeline health"
    titles = ops.run("return [...document.querySelectorAll('#panels h3')].map((h) => h.textContent)")
    assert titles == [panel["title"] for panel in board["panels"]]
    assert "No value" not in ops.text("#panels")
    charts = [panel for panel in board["panels"] if panel["kind"] == "timeseries"]
    eventually(lambda: len(ops.all(".ops-lines:not([hidden]) canvas")) >= len(charts), PATIENT_S)
    assert ops.complaints() == []


def test_what_is_down_has_a_word_and_comes_first(ops: OpenPage) -> None:
    opened(ops)
    rows = ops.run(
        "return [...document.querySelectorAll('section[data-width=\"6\"] tbody tr')].map((r) => r.textContent)"
    )
    assert rows[0] == "neo4jdown"
    assert rows[1].endswith("up")


def test_a_board_and_a_range_can_be_chosen_and_are_in_the_address(ops: OpenPage, api: RecordedApi) -> None:
    opened(ops)
    ops.run("document.querySelector('input[value=tickhouse-machine]').click()")
    ops.shows("#board-title", "Machine")
    ops.run("document.querySelector('input[value=\"6h\"]').click()")
    eventually(lambda: asked(api)[-1] == ("/v1/ops/boards/tickhouse-machine", "6h"), PATIENT_S)
    assert ops.run("return location.hash") == "#board=tickhouse-machine&range=6h"
    ops.browser.refresh()
    ops.shows("#board-title", "Machine")
    assert ops.run("return document.querySelector('input[value=\"6h\"]').checked")


def asked(api: RecordedApi) -> list[tuple[str, str]]:
    return [(path, query.get("range", "")) for path, query, _ in api.requests if path.startswith("/v1/ops/boards/")]


def test_new_values_come_by_themselves_and_panels_stay(ops: OpenPage, api: RecordedApi, now: datetime) -> None:
    opened(ops)
    ops.run("document.querySelector('#panels section').dataset.mark = 'mine'")

    def worse(panel: OpsPanel, at: float) -> list[dict[str, Any]]:
        found = ordinary_day(panel, at)
        if panel.title == "Dead letters kept":
            found[0]["points"] = [[at, 4711.0]]
        return found

    api.boards = recorded_boards(now, worse)
    eventually(lambda: "4.71 k" in panel_text(ops, "Dead letters kept"), PATIENT_S)
    assert ops.run("return document.querySelector('#panels section').dataset.mark") == "mine"


def test_alerts_that_fire_are_on_top_and_spoken(ops: OpenPage, api: RecordedApi, now: datetime) -> None:
    api.firing = [firing("StoreBehind", "critical", now), firing("GapOpen", "warning", now, "pending")]
    opened(ops)
    ops.shows("#firing-title", "Alerts firing: 1")
    ops.shows("#firing", "StoreBehind")
    assert "critical" in ops.text("[data-alert=StoreBehind] .chip")
    assert ops.text("[data-alert=GapOpen] .chip") == "pending"
    assert "docs/runbook/store-down.md" in ops.text("#firing")
    ops.shows("#firing-spoken", "Firing: StoreBehind")


def test_without_prometheus_the_page_says_what_to_run(ops: OpenPage, api: RecordedApi) -> None:
    api.failures = {"/v1/ops/boards/": OFF, "/v1/ops/alerts": OFF}
    ops.browser.get(ops.url)
    ops.shows(".board-panel .state", "tickhouse up --profile observe")
    assert ops.find(".board-panel .state").get_attribute("data-state") == "empty"
    assert ops.text("#connection") == "off"
    assert ops.all("#panels section") == []

    api.failures = {}
    ops.shows("#connection", "live")
    assert ops.all("#panels section")


def test_another_error_is_an_error(ops: OpenPage, api: RecordedApi) -> None:
    api.failures = {
        "/v1/ops/boards/": (503, {"title": "A store does not answer", "detail": "Prometheus does not answer."})
    }
    ops.browser.get(ops.url)
    ops.shows(".board-panel .state", "Prometheus does not answer.")
    assert ops.find(".board-panel .state").get_attribute("data-state") == "error"
    ops.shows("#connection", "no answer")


def test_a_query_that_fails_is_said_in_its_panel_and_hides_no_other(
    ops: OpenPage, api: RecordedApi, now: datetime
) -> None:
    api.boards = recorded_boards(now, lambda panel, at: [] if panel.number == 3 else ordinary_day(panel, at))
    board = api.boards["tickhouse-pipeline"]
    board["panels"][1]["series"], board["panels"][1]["problem"] = [], "query timed out"
    opened(ops)
    assert "Prometheus refused the query: query timed out" in panel_text(ops, board["panels"][1]["title"])
    assert "No value in this time" in panel_text(ops, board["panels"][2]["title"])
    assert "watch" not in panel_text(ops, board["panels"][0]["title"])


def test_the_whole_page_can_be_walked_with_keys(ops: OpenPage) -> None:
    opened(ops)
    ops.run("document.querySelector('.skip-link').focus()")
    walked = []
    for _ in range(30):
        ops.tab()
        walked.append(ops.run("const e = document.activeElement; return e.id || e.name || e.className || e.tagName"))
    assert {"boards", "ranges", "theme"} <= set(walked)
    ops.run("document.querySelector('input[name=ranges]:checked').focus()")
    ops.keys(Keys.ARROW_RIGHT)
    eventually(lambda: "range=6h" in str(ops.run("return location.hash")), PATIENT_S)


def test_the_pages_lead_to_each_other(ops: OpenPage) -> None:
    opened(ops)
    ops.run("document.querySelector('.pages a[href=\"/\"]').click()")
    ops.shows("#chart-title", "BTCUSDT")
    ops.run("document.querySelector('.pages a[href=\"/ops\"]').click()")
    ops.shows("#board-title", "Pipeline health")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("is_phone", [False, True], ids=["desktop", "phone"])
def test_the_page_breaks_no_rule(ops: OpenPage, api: RecordedApi, axe: str, scheme: str, is_phone: bool) -> None:
    now = datetime.now(UTC)
    api.firing = [firing("StoreBehind", "critical", now), firing("GapOpen", "warning", now, "pending")]
    emulate(ops, scheme)
    if is_phone:
        ops.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    opened(ops)
    eventually(lambda: ops.all(".ops-lines:not([hidden]) canvas"), PATIENT_S)
    assert violations(ops, axe) == []
    if is_phone:
        assert ops.run("return document.documentElement.scrollWidth <= 360")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_empty_page_breaks_no_rule(ops: OpenPage, api: RecordedApi, axe: str, scheme: str) -> None:
    emulate(ops, scheme)
    api.failures = {"/v1/ops/boards/": OFF, "/v1/ops/alerts": OFF}
    ops.browser.get(ops.url)
    ops.shows("#connection", "off")
    assert violations(ops, axe) == []


def test_a_board_is_drawn_without_the_library(ops: OpenPage, api: RecordedApi) -> None:
    api.without_chart = True
    opened(ops)
    assert ops.all(".ops-lines:not([hidden])") == []
    assert "kafka" in panel_text(ops, "Lag of the consumers")
    ops.complaints()


def test_panel_answers_have_the_form_of_the_api(now: datetime) -> None:
    from api.models import OpsAlertAnswer, OpsBoardAnswer

    for board in recorded_boards(now).values():
        OpsBoardAnswer.model_validate(board)
    OpsAlertAnswer.model_validate(firing("A", "warning", now))
    assert panel_answer
