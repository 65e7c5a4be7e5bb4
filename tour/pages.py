"""Pictures of the pages of a running lakehouse, taken with headless Chromium."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from bench.chromium import chromium
from common.settings import Settings
from tour.private_text import refuse_private

WIDTH, HEIGHT = 1400, 900
# A page that is drawn for the first time on a busy machine.
PATIENT_S = 90.0
COLOURS = 128


@dataclass(frozen=True, slots=True)
class Page:
    """A page to take a picture of.

    Attributes:
        name: Name of the picture, without its suffix.
        url: Where it is; empty for the page that `prepare` leads to.
        ready: Whether it shows what it is for.
        prepare: What to do before, such as a login.
        arrange: What to do when it is ready, such as a zoom.
    """

    name: str
    url: str
    ready: Callable[[Chrome], object]
    prepare: Callable[[Chrome], None] | None = None
    arrange: Callable[[Chrome], None] | None = None


def pages(settings: Settings, report_url: str) -> list[Page]:
    """Return the pages of the tour.

    Args:
        settings: Addresses and the login of Airflow.
        report_url: The page of the executed notebook.
    """
    live, airflow, docs = settings.api_url, settings.airflow_url, settings.data_docs_url

    def log_in(browser: Chrome) -> None:
        _log_in(browser, airflow, settings)

    return [
        Page("live-page", f"{live}/#market=spot&symbol=BTCUSDT&interval=1m", _has("canvas"), arrange=_zoom_in),
        Page("operations", f"{live}/ops", _has("canvas, svg")),
        Page("data-docs", docs, _has("table a")),
        Page("audit", "", _has(".law"), lambda browser: browser.find_element(By.CSS_SELECTOR, "table a").click()),
        Page("notebook", report_url, _has("img")),
        Page("airflow", f"{airflow}/dags/nightly_batch", _has("[data-testid], main"), log_in),
    ]


def take(wanted: Sequence[Page], folder: Path, profile: Path, private: Mapping[str, str]) -> list[Path]:
    """Write a picture of each page; return their paths.

    Args:
        wanted: Pages in order; a login lasts for those after it.
        folder: Where the pictures go.
        profile: An empty folder for the browser.
        private: Text that no picture may show, to what it is.

    Raises:
        ValueError: A page shows private text.
    """
    taken: list[Path] = []
    with chromium(profile) as browser:
        size = {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        for page in wanted:
            if page.prepare:
                page.prepare(browser)
            if page.url:
                browser.get(page.url)
            WebDriverWait(browser, PATIENT_S).until(page.ready)
            if page.arrange:
                page.arrange(browser)
            WebDriverWait(browser, PATIENT_S).until(_is_still())
            refuse_private(str(browser.execute_script("return document.body.innerText")), page.name, private)
            taken.append(folder / f"{page.name}.png")
            taken[-1].write_bytes(small(browser.get_screenshot_as_png()))
    return taken


def small(png: bytes) -> bytes:
    """Return a picture with few colours, which a page of text and lines needs."""
    out = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").quantize(COLOURS).save(out, "PNG", optimize=True)
    return out.getvalue()


def _has(selector: str) -> Callable[[Chrome], object]:
    return lambda browser: browser.find_elements(By.CSS_SELECTOR, selector)


def _is_still() -> Callable[[Chrome], bool]:
    """Return a check whether a page has as much text as at the check before."""
    seen: list[int] = []

    def is_still(browser: Chrome) -> bool:
        text = str(browser.execute_script("return document.body.innerText"))
        seen.append(len(re.sub(r"\d", "", text)))
        return len(seen) > 3 and len(set(seen[-4:])) == 1

    return is_still


def _log_in(browser: Chrome, url: str, settings: Settings) -> None:
    browser.get(f"{url}/auth/login")
    WebDriverWait(browser, PATIENT_S).until(_has("input[name=password]"))
    browser.find_element(By.CSS_SELECTOR, "input[name=username]").send_keys("admin")
    field = browser.find_element(By.CSS_SELECTOR, "input[name=password]")
    field.send_keys(settings.airflow_admin_password.get_secret_value())
    field.submit()
    WebDriverWait(browser, PATIENT_S).until(lambda now: "login" not in now.current_url)


def _zoom_in(browser: Chrome) -> None:
    """Fill the chart with the demo's minutes: each key shows fewer candles."""
    browser.find_element(By.CSS_SELECTOR, "#chart").send_keys("+" * 6)
