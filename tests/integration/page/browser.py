"""What tests do with a page in a browser, and read from it."""

from __future__ import annotations

from typing import Any

from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from tests.eventually import eventually

# A page that is painted for the first time on a busy machine with two cores.
PATIENT_S = 90.0


class OpenPage:
    """The page in a browser."""

    def __init__(self, browser: Chrome, url: str) -> None:
        self.browser = browser
        self.url = url

    def open(self, fragment: str = "") -> OpenPage:
        self.browser.get("about:blank")  # a change of the fragment alone would load nothing
        self.browser.get(f"{self.url}/{fragment}")
        return self

    def find(self, selector: str) -> WebElement:
        return eventually(lambda: next(iter(self.all(selector)), None), PATIENT_S)

    def all(self, selector: str) -> list[WebElement]:
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        """All text of an element, hidden parts too, with single spaces."""
        script = (
            "const e = document.querySelector(arguments[0]); return e ? e.textContent.replace(/\\s+/g, ' ').trim() : ''"
        )
        return str(self.browser.execute_script(script, selector))

    def shows(self, selector: str, text: str) -> None:
        """Wait until an element's text has `text` in it."""
        try:
            eventually(lambda: text in self.text(selector), PATIENT_S)
        except AssertionError:
            raise AssertionError(f"Expected {selector} to show {text!r}, was {self.text(selector)!r}") from None

    def keys(self, *keys: str) -> None:
        self.browser.switch_to.active_element.send_keys(*keys)

    def tab(self) -> None:
        self.keys(Keys.TAB)

    def run(self, script: str, *arguments: Any) -> Any:
        return self.browser.execute_script(script, *arguments)

    def call(self, module: str, expression: str, *arguments: Any) -> Any:
        """Return the value of an expression: `m` has a module's exports, `a` the arguments."""
        script = (
            "const [name, source, a, done] = arguments;"
            "import(`/assets/${name}`).then((m) => done({value: run(m, a)}), (e) => done({error: String(e)}));"
            f"function run(m, a) {{ return {expression}; }}"
        )
        result = self.browser.execute_async_script(script, module, "", list(arguments))
        assert "error" not in result, result["error"]
        return result["value"]

    def complaints(self) -> list[str]:
        """What the browser has logged as a warning or an error since the last call."""
        return [one["message"] for one in self.browser.get_log("browser") if one["level"] in ("WARNING", "SEVERE")]
