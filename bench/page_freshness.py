"""Seconds from a trade's exchange time to the live page in a browser, at 1,000 events/s.

    python -m bench.page_freshness

A trade is shown when the page shows it or a later one of its symbol: the streaming job gives the
page the latest trade of each batch. The browser itself notes the time of each change.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from selenium.webdriver import Chrome

from bench.bench_stack import BenchStack, local_exchange, temporary_stack, wait_for
from bench.chromium import chromium, missing_browser
from bench.freshness_p95_s import EVENTS_PER_SECOND, MEASURED_S, REST_S, WARMUP_S, sent_times
from bench.harness import load_1m, percentile, rounded, say
from bench.market import live_config
from bench.pipeline import live_producer, remove_earlier_data, streaming_job
from common.settings import Settings

LIMIT_S = 1.0
SYMBOL = "BTCUSDT"
# Notes each change of the price with the clock of this machine, which is the exchange's too.
_RECORD = """
window.shown = [];
const price = document.getElementById("price");
new MutationObserver(() => window.shown.push([price.dataset.event, Date.now()]))
  .observe(price, {attributes: true, attributeFilter: ["data-event"]});
"""


def main() -> int:
    """Measure and print the figures as JSON; return 1 when 95 % are not within the limit."""
    if missing_browser():
        say(f"Not measured: {missing_browser()}.")
        return 3
    is_quick = "--quick" in sys.argv[1:]
    with temporary_stack(is_quick=is_quick) as bench, tempfile.TemporaryDirectory() as profile:
        figures = measured(bench, Path(profile))
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")
    return 0 if figures["p95"] <= LIMIT_S else 1


def measured(bench: BenchStack, profile: Path) -> dict[str, Any]:
    """Play a market through the pipeline and return when its trades were on the page."""
    settings = bench.up("kafka", "registry", "postgres", "redis", "lakefs", "api")
    remove_earlier_data(bench, settings)
    warmup_s, measured_s = bench.sized(WARMUP_S, 20), bench.sized(MEASURED_S, 20)
    length_s = warmup_s + measured_s + REST_S
    config = live_config(EVENTS_PER_SECOND, length_s)
    with (
        local_exchange(bench, "page", config) as market,
        streaming_job(bench, "page"),
        live_producer(bench, "page"),
        chromium(profile) as browser,
    ):
        wait_for(lambda: market.state()["state"] == "playing", "the market to play", timeout_s=60)
        times, first = sent_times(market)
        sent, first_id = times[SYMBOL], first[SYMBOL]
        open_page(browser, settings)
        start_us = min(int(one[0]) for one in times.values()) + warmup_s * 10**6
        say(f"    the page is open; measured from {warmup_s} s on, for {measured_s} s")
        wait_for(
            lambda: time.time_ns() // 1000 > start_us + (measured_s + REST_S / 2) * 10**6,
            "the measured seconds to pass",
            timeout_s=length_s * 2,
            every_s=1,
        )
        shown = browser.execute_script("return window.shown")
        said = browser.execute_script("return document.getElementById('facts').textContent")
    late = latencies(shown, sent, first_id, (start_us, start_us + measured_s * 10**6))
    return {
        "p50": rounded(percentile(late, 50)),
        "p95": rounded(percentile(late, 95)),
        "p99": rounded(percentile(late, 99)),
        "max": rounded(max(late)),
        "limit_s": LIMIT_S,
        "events": len(late),
        "changes_of_the_page": len(shown),
        "page_says": said,
        "load_1m": load_1m(),
        "cores": os.cpu_count(),
        "how": f"{EVENTS_PER_SECOND} aggTrades/s of 24 symbols, of which the page shows {SYMBOL}; headless Chromium "
        f"on the same machine; {warmup_s} s of warm-up, {measured_s} s measured",
    }


def open_page(browser: Chrome, settings: Settings) -> None:
    """Open the page and begin to record, once it shows a trade."""

    def shows_a_trade() -> bool:
        # The API refuses a symbol until its first candle is stored; then it is opened again.
        browser.get("about:blank")
        browser.get(f"{settings.api_url}/#market=spot&symbol={SYMBOL}&interval=1m")
        script = "return Boolean(document.getElementById('price').dataset.event)"
        try:
            wait_for(lambda: browser.execute_script(script), "the first trade on the page", timeout_s=10)
        except Exception:  # noqa: BLE001  # whatever the reason, the page is opened again until the limit
            return False
        return True

    wait_for(shows_a_trade, "the page to show a trade", timeout_s=120)
    browser.execute_script(_RECORD)


def latencies(shown: list[tuple[str, int]], sent: Any, first_id: int, window_us: tuple[int, int]) -> list[float]:
    """Return the seconds from each trade of the window to the first change at or after it (pure).

    Args:
        shown: Event id and time in ms of each change of the page.
        sent: Time in µs of each trade of the symbol, by id - first id.
        first_id: The symbol's first id.
        window_us: Trades sent in [from, until) count; one that was never shown is infinitely late.
    """
    late, before = [], 0
    for event_id, at_ms in shown:
        until = int(event_id.rpartition(":")[2]) - first_id + 1
        for time_us in sent[before:until]:
            if window_us[0] <= time_us < window_us[1]:
                late.append(at_ms / 1e3 - int(time_us) / 1e6)
        before = max(before, until)
    never = int(((sent[before:] >= window_us[0]) & (sent[before:] < window_us[1])).sum())
    return late + [float("inf")] * never


if __name__ == "__main__":
    sys.exit(main())
