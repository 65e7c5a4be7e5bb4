"""One browser for all tests of the page, and a server with recorded answers for each."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from selenium.webdriver import Chrome

from bench.chromium import chromium, missing_browser
from tests.integration.page.browser import OpenPage
from tests.integration.page.recorded_api import RecordedApi, a_market


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """Yield a browser; without one the test is skipped with that reason."""
    if missing_browser():
        pytest.skip(missing_browser())
    with chromium(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture
def now() -> datetime:
    """Return the middle of the current minute: each trade of a test is then in its own minute."""
    return datetime.now(UTC).replace(second=30, microsecond=0)


@pytest.fixture
def api(now: datetime) -> Iterator[RecordedApi]:
    with a_market(now).serving() as served:
        yield served


@pytest.fixture
def page(browser: Chrome, api: RecordedApi) -> Iterator[OpenPage]:
    """Yield a page that is not open yet; whatever a test emulates or stores ends with it."""
    opened = OpenPage(browser, api.url)
    opened.complaints()
    yield opened
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    browser.execute_script("try { localStorage.clear() } catch {}")
    browser.get("about:blank")
