"""The page keeps the rules that axe-core knows, among them the contrast of every text."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import TickhouseError
from stack.engine.npm_packages import npm_folder
from tests.eventually import eventually
from tests.integration.page.browser import PATIENT_S, OpenPage
from tests.integration.page.recorded_api import RecordedApi

BTC = "#market=spot&symbol=BTCUSDT&interval=1m"
PHONE = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}


@pytest.fixture(scope="session")
def axe() -> str:
    try:
        return Path(npm_folder("axe-core"), "axe.min.js").read_text()
    except TickhouseError as error:
        pytest.skip(f"axe-core is not in the cache, and was not downloaded: {error}")


def violations(page: OpenPage, axe: str) -> list[str]:
    """Return each broken rule with the elements that break it."""
    script = axe + ";const done = arguments[0]; axe.run(document, {resultTypes: ['violations']}).then("
    script += "({violations}) => done(violations.flatMap((v) => v.nodes.map((n) => "
    script += "`${v.id}: ${n.html} ${n.failureSummary}`))))"
    found: list[str] = page.browser.execute_async_script(script)
    return found


def open_whole(page: OpenPage) -> None:
    page.open(BTC)
    page.shows("#connection", "live")
    page.shows("#movers", "ETHUSDT")
    page.shows("#gaps-summary", "open gap")
    page.shows("#lake", "passed")
    page.run("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    eventually(lambda: page.all("#candle-table tbody tr"), PATIENT_S)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("is_phone", [False, True], ids=["desktop", "phone"])
def test_the_whole_page_breaks_no_rule(page: OpenPage, api: RecordedApi, axe: str, scheme: str, is_phone: bool) -> None:
    emulate(page, scheme)
    if is_phone:
        page.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    open_whole(page)
    assert violations(page, axe) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_errors_break_no_rule(page: OpenPage, api: RecordedApi, axe: str, scheme: str) -> None:
    emulate(page, scheme)
    problem = (503, {"title": "PostgreSQL does not answer", "detail": "refused", "next": "tickhouse status"})
    api.failures = {path: problem for path in ("/v1/candles", "/v1/movers", "/v1/gaps", "/v1/live")}
    page.open(BTC)
    page.shows("#connection", "reconnecting")
    page.shows(".chart-panel .state", "PostgreSQL")
    assert violations(page, axe) == []


def test_the_rules_are_able_to_fail(page: OpenPage, api: RecordedApi, axe: str) -> None:
    open_whole(page)
    page.run("document.documentElement.lang = ''; document.querySelector('#market').closest('label').replaceWith('x')")
    page.run("document.querySelector('.hint').style.color = '#ccc'")
    broken = {one.split(":")[0] for one in violations(page, axe)}
    assert {"html-has-lang", "color-contrast"} <= broken


def emulate(page: OpenPage, scheme: str) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
