"""A person looks at the page and uses it: every panel, and what changes while it is open."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from tests.eventually import eventually
from tests.integration.page.browser import PATIENT_S, OpenPage
from tests.integration.page.recorded_api import Json, RecordedApi, alert, candle, gap, trade

BTC = "#market=spot&symbol=BTCUSDT&interval=1m"


def opened(page: OpenPage, api: RecordedApi, fragment: str = BTC) -> OpenPage:
    """Open the page and wait until it shows candles and has a live connection."""
    page.open(fragment)
    page.shows("#connection", "live")
    page.shows("#legend", "Close")
    return page


def legend(page: OpenPage) -> dict[str, str]:
    """Return the figures above the chart by name."""
    script = (
        "return [...document.querySelectorAll('#legend > div')].map((d) => [...d.children].map((c) => c.textContent))"
    )
    return {name: value for name, value in page.run(script)}


def settled(page: OpenPage, name: str, value: str) -> dict[str, str]:
    """Wait until a figure of the legend has a value; return all."""
    try:
        return eventually(lambda: now if (now := legend(page)).get(name) == value else None, PATIENT_S)
    except AssertionError:
        raise AssertionError(f"Expected {name} to be {value}, was {legend(page)}") from None


# -- what it says about the market -----------------------------------------------


def test_a_synthetic_market_says_simulated_and_a_real_one_does_not(page: OpenPage, api: RecordedApi) -> None:
    opened(page, api)
    page.shows("#market-kind", "SIMULATED")
    assert page.find("#market-kind").is_displayed()
    assert page.find("#synthetic-note").is_displayed()

    api.status["is_synthetic"] = False
    page.open(BTC)
    page.shows("#facts", "Dead letters12")
    assert not page.find("#market-kind").is_displayed()
    assert not page.find("#synthetic-note").is_displayed()


def test_without_a_choice_the_symbol_that_traded_last_is_shown(page: OpenPage, api: RecordedApi) -> None:
    opened(page, api, "")
    assert page.text("#chart-title") == "BTCUSDT spot"
    assert page.run("return location.hash") == BTC


# -- candles ---------------------------------------------------------------------


def test_figures_are_those_of_the_api_to_the_last_digit(page: OpenPage, api: RecordedApi, now: datetime) -> None:
    minute = now.replace(second=0)
    prices = ("0.00001230", "0.00001239", "0.00001229", "0.00001234")
    api.candles["BTCUSDT", "1m"] = [candle(minute, prices, "90071992547409.93000000", "1108786228.2584163163390000")]
    figures = settled(opened(page, api), "Close", "0.00001234")
    # A double would show the volume as 90071992547409.94.
    assert figures["Volume"] == "90071992547409.93"
    assert [figures[name] for name in ("Open", "High", "Low")] == ["0.00001230", "0.00001239", "0.00001229"]
    assert page.text("#price") == "0.00001234"
    assert page.run("return document.title") == "0.00001234 BTCUSDT · Tickhouse"


def test_the_averages_are_weighted_by_volume(page: OpenPage, api: RecordedApi) -> None:
    figures = settled(opened(page, api), "Close", shown(api.candles["BTCUSDT", "1m"][-1]["close"]))
    rows = api.candles["BTCUSDT", "1m"]
    assert figures["Average 1 min"] == vwap(rows[-1:])
    assert figures["Average 5 min"] == vwap(rows[-5:])


def test_an_average_leaves_out_minutes_that_are_too_old(page: OpenPage, api: RecordedApi) -> None:
    # Without trades a minute has no candle: the fourth row before the newest is of ten minutes ago.
    rows = api.candles["BTCUSDT", "1m"]
    del rows[-10:-3]
    figures = settled(opened(page, api), "Close", shown(rows[-1]["close"]))
    assert figures["Average 5 min"] == vwap(rows[-3:])


def vwap(rows: list[Json]) -> str:
    volume = sum((Decimal(row["volume"]) for row in rows), Decimal(0))
    value = sum((Decimal(row["vwap"]) * Decimal(row["volume"]) for row in rows), Decimal(0)) / volume
    return str(value.quantize(Decimal("0.01"), ROUND_HALF_UP))


def shown(price: str) -> str:
    return str(Decimal(price).quantize(Decimal("0.01")))


def test_an_interval_is_loaded_and_named_in_the_address(page: OpenPage, api: RecordedApi) -> None:
    opened(page, api)
    page.run("document.querySelector('input[value=\"1h\"]').click()")
    figures = settled(page, "Close", shown(api.candles["BTCUSDT", "1h"][-1]["close"]))
    assert "Average 5 h" in figures
    assert page.run("return location.hash") == "#market=spot&symbol=BTCUSDT&interval=1h"

    page.browser.refresh()
    settled(page, "Close", shown(api.candles["BTCUSDT", "1h"][-1]["close"]))
    assert page.run("return document.querySelector('input[value=\"1h\"]').checked")


def test_another_market_and_symbol_can_be_chosen(page: OpenPage, api: RecordedApi) -> None:
    opened(page, api)
    eventually(lambda: len(page.all("#market option")) == 2, PATIENT_S)
    Select(page.find("#symbol")).select_by_value("币安人生USDT")
    page.shows("#chart-title", "币安人生USDT spot")
    settled(page, "Close", shown(api.candles["币安人生USDT", "1m"][-1]["close"]))

    Select(page.find("#market")).select_by_value("coinm")
    page.shows("#chart-title", "BTCUSD_PERP coinm")
    figures = settled(page, "Close", shown(api.candles["BTCUSD_PERP", "1m"][-1]["close"]))
    assert "Contracts" in figures
    query, _ = api.live_requests()[-1]
    assert (query["market"], query["symbol"]) == ("coinm", "BTCUSD_PERP")


def test_the_table_below_the_chart_has_the_same_candles(page: OpenPage, api: RecordedApi) -> None:
    opened(page, api)
    page.run("document.querySelector('.chart-panel summary').click()")
    rows = eventually(lambda: page.all("#candle-table tbody tr"), PATIENT_S)
    assert len(rows) == 30
    newest = api.candles["BTCUSDT", "1m"][-1]
    cells = page.run("return [...document.querySelector('#candle-table tbody tr').children].map((c) => c.textContent)")
    assert cells[1:5] == [shown(newest[name]) for name in ("open", "high", "low", "close")]
    assert cells[0] == newest["open_time"][:16].replace("T", " ")


# -- live ------------------------------------------------------------------------


def test_trades_move_price_close_high_and_low(page: OpenPage, api: RecordedApi, now: datetime) -> None:
    opened(page, api)
    before = legend(page)
    api.send("trade", trade("BTCUSDT", 10, "70000.5", now))
    figures = settled(page, "Close", "70000.50")
    assert figures["High"] == "70000.50"
    assert figures["Volume"] == before["Volume"]  # only candles count volume
    page.shows("#price", "70000.50")

    # An earlier trade that comes late moves the low, not the close; one of another symbol nothing.
    api.send("trade", trade("BTCUSDT", 9, "50000.25", now))
    api.send("trade", trade("ETHUSDT", 11, "1.00", now))
    figures = settled(page, "Low", "50000.25")
    assert figures["Close"] == "70000.50"


def test_a_trade_of_the_next_minute_begins_a_candle(page: OpenPage, api: RecordedApi, now: datetime) -> None:
    opened(page, api)
    later = now + timedelta(minutes=1)
    api.send("trade", trade("BTCUSDT", 10, "61000.00", later))
    figures = settled(page, "Close", "61000.00")
    assert figures["Candle"] == later.strftime("%Y-%m-%d %H:%M")
    assert figures["Open"] == figures["High"] == figures["Low"] == "61000.00"
    assert figures["Trades"] == "0"


def test_a_candle_replaces_its_bar_but_not_what_newer_trades_say(
    page: OpenPage, api: RecordedApi, now: datetime
) -> None:
    opened(page, api)
    api.send("trade", trade("BTCUSDT", 10, "70000.00", now))
    settled(page, "Close", "70000.00")
    prices = ("59000.00", "59500.00", "58999.99", "59400.00")
    update = candle(now.replace(second=0), prices, "77.5", "4600000", trades=99, is_closed=False)
    api.send("candle", {**update, "market": "spot", "symbol": "BTCUSDT", "interval": "1m"})
    figures = settled(page, "Volume", "77.5")
    assert (figures["Open"], figures["Low"], figures["Trades"]) == ("59000.00", "58999.99", "99")
    assert (figures["High"], figures["Close"]) == ("70000.00", "70000.00")


def test_a_longer_candle_is_asked_for_when_a_minute_changes(page: OpenPage, api: RecordedApi, now: datetime) -> None:
    opened(page, api, "#market=spot&symbol=BTCUSDT&interval=1h")
    newest = api.candles["BTCUSDT", "1h"][-1]
    newest.update(volume="123456.75", trades=4321)
    update = candle(now.replace(second=0), ("1", "1", "1", "1"), "1", "1")
    api.send("candle", {**update, "market": "spot", "symbol": "BTCUSDT", "interval": "1m"})
    assert settled(page, "Volume", "123456.75")["Trades"] == "4321"


def test_a_cut_connection_says_so_and_resumes_after_the_last_event(
    page: OpenPage, api: RecordedApi, now: datetime
) -> None:
    opened(page, api)
    api.send("trade", trade("BTCUSDT", 10, "61000.00", now))
    settled(page, "Close", "61000.00")

    api.cut(refuse=True)
    page.shows("#connection", "reconnecting for 2 s")
    assert page.find("#connection").get_attribute("title") == "Redis does not answer"
    api.send("trade", trade("BTCUSDT", 11, "61000.01", now))  # nobody is connected
    api.send("trade", trade("BTCUSDT", 12, "61000.02", now))
    api.accept()
    page.shows("#connection", "live")
    settled(page, "Close", "61000.02")
    _, headers = api.live_requests()[-1]
    assert headers["Last-Event-ID"] == "1-0"


def test_candles_are_loaded_again_when_events_were_lost(page: OpenPage, api: RecordedApi, now: datetime) -> None:
    opened(page, api)
    api.send("trade", trade("BTCUSDT", 10, "70000.00", now))
    settled(page, "Close", "70000.00")
    api.candles["BTCUSDT", "1m"][-1].update(high="60500.00000000", close="60499.00000000", volume="5.5")
    api.send("lost", {"from": "1-0", "to": "9-0"})
    figures = settled(page, "Close", "60499.00")
    assert (figures["High"], figures["Volume"]) == ("60500.00", "5.5")


def test_a_trade_that_comes_while_candles_load_is_not_lost(page: OpenPage, api: RecordedApi, now: datetime) -> None:
    api.hold("/v1/candles")
    page.open(BTC)
    page.shows("#connection", "live")
    api.send("trade", trade("BTCUSDT", 10, "70000.00", now))
    page.shows("#price", "70000.00")
    api.release("/v1/candles")
    figures = settled(page, "Open", shown(api.candles["BTCUSDT", "1m"][-1]["open"]))
    assert (figures["High"], figures["Close"]) == ("70000.00", "70000.00")


def test_a_thousand_trades_per_second_are_followed(page: OpenPage, api: RecordedApi) -> None:
    opened(page, api)
    for number in range(1, 6):
        time = datetime.now(UTC)
        api.send_all(
            [
                ("trade", trade("BTCUSDT", number * 1000 + one, f"{60000 + number}.{one:03d}", time))
                for one in range(1000)
            ]
        )
    page.shows("#price", "60005.999")
    page.shows("#facts", "95 % within")


# -- movers ----------------------------------------------------------------------


def test_movers_are_shown_in_order_with_sign_and_mark(page: OpenPage, api: RecordedApi) -> None:
    opened(page, api)
    rows = eventually(lambda: page.all("#movers tbody tr"), PATIENT_S)
    assert [row.text.split("\n")[0].split()[0] for row in rows] == ["币安人生USDT", "ETHUSDT", "BTCUSDT"]
    assert "▲ +32.40 %" in rows[0].text
    assert "▼ -1.64 %" in rows[2].text
    assert page.find("#movers tbody tr:last-child [title='1234567890.12345678']").text == "1.23 G"


def test_a_click_on_a_mover_shows_its_chart(page: OpenPage, api: RecordedApi) -> None:
    opened(page, api)
    page.find("#movers [data-symbol=ETHUSDT]").click()
    page.shows("#chart-title", "ETHUSDT spot")
    settled(page, "Close", shown(api.candles["ETHUSDT", "1m"][-1]["close"]))
    assert page.browser.switch_to.active_element.get_attribute("id") == "chart-title"


def test_movers_are_reached_with_keys(page: OpenPage, api: RecordedApi) -> None:
    opened(page, api)
    page.run("arguments[0].focus()", page.find("#movers button"))
    page.keys(Keys.ARROW_DOWN, Keys.ARROW_DOWN, Keys.ARROW_UP, Keys.ENTER)
    page.shows("#chart-title", "ETHUSDT spot")


# -- freshness, gaps, alerts, lake -----------------------------------------------


def test_ages_tick_and_have_a_word(page: OpenPage, api: RecordedApi) -> None:
    opened(page, api)
    page.shows("#streams", "coinm BTCUSD_PERP")
    words = {
        row.text.split("\n")[0]: row.find_element("css selector", ".chip").text for row in page.all("#streams tbody tr")
    }
    by_symbol = {text.split()[1]: word for text, word in words.items()}
    assert by_symbol["BTCUSD_PERP"] == "stale"
    assert by_symbol["ETHUSDT"] == "late"
    newest = "#streams tbody tr:last-child .age"
    seen = page.text(newest)
    eventually(lambda: page.text(newest) != seen, PATIENT_S)
    page.shows("#queries", "5120")
    assert page.text("#queries tbody tr:last-child") == "lake_tradesunknownunknown"


def test_trades_of_another_day_are_called_played_in_a_synthetic_market(
    page: OpenPage, api: RecordedApi, now: datetime
) -> None:
    api.status["freshness"] = [
        {"market": "spot", "symbol": "BTCUSDT", "last_trade_time": "2024-08-08T00:00:00Z", "age_s": 7e7}
    ]
    opened(page, api)
    page.shows("#streams", "played")
    api.send("trade", trade("BTCUSDT", 1, "1.00", now - timedelta(days=800)))
    api.send("trade", trade("BTCUSDT", 2, "1.00", now - timedelta(days=800)))
    page.shows("#facts", "played from another day")


def test_gaps_are_a_calendar_with_a_text_form(page: OpenPage, api: RecordedApi, now: datetime) -> None:
    opened(page, api)
    page.shows(
        "#gaps-summary", "BTCUSDT: 1 open gap (153 ids), 1 unfillable gap (1 id), 2 filled gaps (15 ids), on 3 days."
    )
    day = (now - timedelta(days=3)).strftime("%Y-%m-%d")
    cell = page.find(f"[data-day='{day}']")
    assert cell.accessible_name == f"{day}: 1 open gap (153 ids), 1 filled gap (5 ids)"
    assert cell.get_attribute("data-state") == "open"
    assert cell.find_element("css selector", ".mark").text == "O"
    rows = page.run(
        "return [...document.querySelectorAll('#gap-table tbody tr')]"
        ".map((r) => [...r.children].map((c) => c.textContent))"
    )
    assert rows[0] == [day, "1", "0", "1", "158"]


def test_the_calendar_is_walked_with_arrow_keys(page: OpenPage, api: RecordedApi, now: datetime) -> None:
    opened(page, api)
    today = page.find("[data-is-newest]")
    page.run("arguments[0].focus()", today)
    page.keys(Keys.ARROW_UP, Keys.ARROW_LEFT)
    focused = page.browser.switch_to.active_element
    expected = datetime.fromisoformat(today.get_attribute("data-day") or "") - timedelta(days=8)
    assert focused.get_attribute("data-day") == expected.strftime("%Y-%m-%d")
    assert page.all("#gap-calendar [tabindex='0']") == [focused]


def test_an_alert_rings_once_and_is_said(page: OpenPage, api: RecordedApi, now: datetime) -> None:
    opened(page, api)
    eventually(lambda: len(page.all("#alerts li")) == 2, PATIENT_S)
    assert page.text("#alerts-spoken") == ""  # what rang before the page was opened is not said
    assert not page.find("#sound").is_selected()

    for _ in range(2):
        api.send("alert", alert("a3", "critical", now, "BTCUSDT moved by 4.2 % within 60 s"))
    page.shows("#alerts", "BTCUSDT moved by 4.2 %")
    assert page.text("#alerts-spoken") == "Alert, critical: BTCUSDT moved by 4.2 % within 60 s"
    assert [one.get_attribute("data-alert") for one in page.all("#alerts li")] == ["a3", "a1", "a2"]
    assert page.find("#alerts li .chip").text == "critical"


def test_sound_can_be_turned_on(page: OpenPage, api: RecordedApi, now: datetime) -> None:
    opened(page, api)
    page.run(
        "window.tones = 0; const start = OscillatorNode.prototype.start;"
        "OscillatorNode.prototype.start = function (...a) { window.tones += 1; return start.apply(this, a); };"
    )
    api.send("alert", alert("b1", "info", now, "silent"))
    page.shows("#alerts", "silent")
    page.find("#sound").click()
    for _ in range(2):  # it rings once
        api.send("alert", alert("b2", "info", now + timedelta(seconds=1), "audible"))
    api.send("trade", trade("BTCUSDT", 10, "61000.00", now))
    page.shows("#price", "61000.00")
    page.shows("#alerts", "audible")
    assert page.run("return window.tones") == 1


def test_the_lake_shows_its_newest_commit_and_the_audit(page: OpenPage, api: RecordedApi) -> None:
    opened(page, api)
    page.shows("#lake", "7f3a9c1be2d4")
    page.shows("#lake", "Newest auditpassed, 1 warning")
    page.shows("#lake", "Of commitc0ffee00aa11")

    api.audits[0].update(ok=False, warnings=[], report="http://127.0.0.1:1/report.html")
    page.open(BTC)
    page.shows("#lake", "Newest auditfailed")
    assert page.find("#lake a").get_attribute("href") == "http://127.0.0.1:1/report.html"


def test_a_system_that_does_not_answer_is_named_beside_what_is_known(page: OpenPage, api: RecordedApi) -> None:
    api.status.update(gaps_open=None, unavailable={"gaps": "Kafka does not answer."})
    opened(page, api)
    page.shows(".freshness-panel .state", "Not all is known. gaps: Kafka does not answer. Next: tickhouse doctor")
    page.shows("#facts", "Open gapsunknown")
    page.shows("#streams", "ETHUSDT")


def test_an_alert_of_another_symbol_rings_too(page: OpenPage, api: RecordedApi, now: datetime) -> None:
    api.alerts = []
    opened(page, api)
    page.shows(".alerts-panel .state", "No alert has rung.")
    api.alerts = [alert("c1", "info", now, "ETHUSDT moved")]  # the stream has those of the chosen symbol only
    page.shows("#alerts-spoken", "Alert, info: ETHUSDT moved")


# -- errors and emptiness --------------------------------------------------------

PROBLEM = (503, {"title": "PostgreSQL does not answer", "detail": "connection refused", "next": "tickhouse status"})
PANELS = ("chart", "movers", "alerts", "freshness", "gaps", "lake")


def test_every_panel_says_its_problem_and_recovers(page: OpenPage, api: RecordedApi) -> None:
    api.failures = {
        path: PROBLEM for path in ("/v1/candles", "/v1/movers", "/v1/gaps", "/v1/alerts", "/v1/lake", "/v1/status")
    }
    page.open(BTC)
    for name in PANELS:
        page.shows(f".{name}-panel .state", "PostgreSQL does not answer: connection refused Next: tickhouse status")
        assert page.find(f".{name}-panel .state").get_attribute("role") == "alert"
    api.failures = {}
    for name in PANELS:
        eventually(lambda name=name: not page.find(f".{name}-panel .state").is_displayed(), PATIENT_S)  # type: ignore[misc]
    assert legend(page)["Close"] == shown(api.candles["BTCUSDT", "1m"][-1]["close"])


def test_an_ended_session_is_begun_again(page: OpenPage, api: RecordedApi) -> None:
    api.needs_session = True
    opened(page, api)
    api.end_sessions()
    page.find("#movers [data-symbol=ETHUSDT]").click()
    settled(page, "Close", shown(api.candles["ETHUSDT", "1m"][-1]["close"]))


def test_a_stopped_server_is_named_with_the_command_that_starts_it(page: OpenPage, api: RecordedApi) -> None:
    opened(page, api)
    page.run("window.fetch = () => Promise.reject(new TypeError('Failed to fetch'));")
    page.run("document.querySelector('input[value=\"5m\"]').click()")
    page.shows(".chart-panel .state", "The server does not answer Next: tickhouse up --service api")
    page.shows("#connection", "reconnecting")


def test_an_empty_lakehouse_says_how_to_fill_it_and_shows_the_first_trade(
    page: OpenPage, api: RecordedApi, now: datetime
) -> None:
    kept, api.symbols = api.symbols, []
    api.movers, api.gaps, api.alerts, api.commits, api.audits = [], [], [], [], []
    api.status.update(freshness=[], lag=[])
    page.open()
    page.shows(".chart-panel .state", "No trade was stored yet. Next: tickhouse demo")
    page.shows(".alerts-panel .state", "No alert has rung.")
    page.shows(".lake-panel .state", "No day was published yet.")
    page.shows(".freshness-panel .state", "No stream has a trade yet.")
    page.shows("#connection", "live")  # alerts can come all the same

    api.symbols = kept
    settled(page, "Close", shown(api.candles["BTCUSDT", "1m"][-1]["close"]))


def test_without_the_chart_library_the_figures_are_there(page: OpenPage, api: RecordedApi) -> None:
    api.without_chart = True
    page.open(BTC)
    page.shows(".chart-panel .state", "The chart library is not installed")
    page.shows(".chart-panel .state", "make setup")
    assert legend(page)["Close"] == shown(api.candles["BTCUSDT", "1m"][-1]["close"])
    page.run("document.querySelector('.chart-panel summary').click()")
    eventually(lambda: len(page.all("#candle-table tbody tr")) == 30, PATIENT_S)


# -- what a browser must not do --------------------------------------------------


def test_nothing_is_loaded_from_elsewhere_and_the_policy_is_kept(
    page: OpenPage, api: RecordedApi, now: datetime
) -> None:
    opened(page, api)
    api.send("trade", trade("BTCUSDT", 10, "61000.00", now))
    settled(page, "Close", "61000.00")
    names = page.run("return performance.getEntriesByType('resource').map((one) => one.name)")
    assert len(names) > 15
    assert [name for name in names if not name.startswith(f"{api.url}/")] == []
    assert page.complaints() == []  # a refused script or style is one
    assert page.all("[style*='http'], style, script:not([src])") == []


def test_text_of_the_api_is_never_markup(page: OpenPage, api: RecordedApi, now: datetime) -> None:
    evil = "<img src=x onerror=alert(1)>"
    api.alerts = [alert("e1", "info", now, evil)]
    api.movers = [{**api.movers[0], "symbol": evil}]
    api.gaps = [gap(evil, 1, 2, now, "open")]
    api.commits[0]["message"] = evil
    opened(page, api)
    page.shows("#alerts", evil)
    page.shows("#movers", evil)
    page.shows("#lake", evil)
    assert page.all("main img") == []


# -- theme -----------------------------------------------------------------------


def test_the_theme_follows_the_system_until_one_is_chosen_and_remembered(page: OpenPage, api: RecordedApi) -> None:
    prefer(page, "dark")
    opened(page, api)
    assert background(page) == "rgb(12, 16, 21)"
    Select(page.find("#theme")).select_by_value("light")
    assert background(page) == "rgb(243, 245, 247)"
    page.browser.refresh()
    page.shows("#connection", "live")
    assert background(page) == "rgb(243, 245, 247)"
    Select(page.find("#theme")).select_by_value("auto")
    assert background(page) == "rgb(12, 16, 21)"


def prefer(page: OpenPage, scheme: str) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def background(page: OpenPage) -> str:
    return str(page.run("return getComputedStyle(document.body).backgroundColor"))


# -- keyboard --------------------------------------------------------------------


def test_the_first_key_leads_past_the_controls(page: OpenPage, api: RecordedApi) -> None:
    opened(page, api)
    page.tab()
    focused = page.browser.switch_to.active_element
    assert focused.text == "Skip to the chart"
    assert focused.rect["y"] >= 0  # it is on the screen while it has the focus
    page.keys(Keys.ENTER)
    assert page.browser.switch_to.active_element.get_attribute("id") == "chart-title"


def test_every_control_is_reached_with_the_tab_key_and_shows_it(page: OpenPage, api: RecordedApi) -> None:
    opened(page, api)
    eventually(lambda: page.all("#movers button") and page.all("#gap-calendar [tabindex='0']"), PATIENT_S)
    page.run("document.activeElement.blur()")
    reached: list[str] = []
    for _ in range(30):
        page.tab()
        focused = page.run(
            "const e = document.activeElement; const ring = e.matches('.intervals input') ? e.nextElementSibling : e;"
            "const name = e.id || e.name || e.dataset.symbol || e.dataset.day || e.textContent.trim();"
            "return [name, getComputedStyle(ring).outlineStyle]"
        )
        assert focused[1] == "solid", focused
        reached.append(focused[0])
        if "tradingview" in focused[0]:
            break
    for wanted in (
        "theme",
        "sound",
        "market",
        "symbol",
        "interval",
        "chart",
        "ETHUSDT",
        "The newest 30 candles as a table",
        "www.tradingview.com",
    ):
        assert wanted in reached


def test_keys_choose_a_candle_of_the_chart(page: OpenPage, api: RecordedApi) -> None:
    opened(page, api)
    rows = api.candles["BTCUSDT", "1m"]
    settled(page, "Close", shown(rows[-1]["close"]))
    page.run("arguments[0].focus()", page.find("#chart"))
    page.keys(Keys.ARROW_LEFT, Keys.ARROW_LEFT, Keys.ARROW_LEFT)
    settled(page, "Close", shown(rows[-3]["close"]))
    page.shows("#chart-spoken", f"close {Decimal(rows[-3]['close']).normalize():f}")
    page.keys(Keys.HOME)
    settled(page, "Close", shown(rows[0]["close"]))
    page.keys(Keys.ESCAPE)
    settled(page, "Close", shown(rows[-1]["close"]))


# -- phone -----------------------------------------------------------------------


def test_a_phone_of_360_pixels_shows_everything_without_scrolling_sideways(page: OpenPage, api: RecordedApi) -> None:
    page.browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
    )
    opened(page, api)
    page.shows("#movers", "ETHUSDT")
    page.shows("#gaps-summary", "open gap")
    assert page.run("return [innerWidth, document.documentElement.scrollWidth]") == [360, 360]
    for selector in (
        ".chart-panel",
        ".movers-panel",
        ".alerts-panel",
        ".freshness-panel",
        ".gaps-panel",
        ".lake-panel",
        "#chart",
    ):
        box = page.run(
            "const r = document.querySelector(arguments[0]).getBoundingClientRect();return [r.left, r.right, r.height]",
            selector,
        )
        assert box[0] >= 0, selector
        assert box[1] <= 360, selector
        assert box[2] > 50, selector
    small = page.run(
        "return [...document.querySelectorAll('select, button, .intervals span')]"
        ".filter((e) => e.offsetParent && e.getBoundingClientRect().height < 30).map((e) => e.outerHTML)"
    )
    assert small == []
