"""The page on the read API itself: session, headers, digits, live stream, lake, restart."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
import redis
from selenium.webdriver import Chrome

from common.clients.lakefs import repository
from common.clients.live_stream import CANDLE, KEY, TRADE, entry, utc_text
from common.settings import Settings, load_settings
from stack.engine import supervisor
from stack.engine.lifecycle import up
from stack.engine.npm_packages import npm_folder
from tests.eventually import eventually
from tests.homes import own_home
from tests.integration.api.conftest import write
from tests.integration.page.browser import OpenPage
from tests.integration.page.test_page import settled
from tests.unit.spark.trades import MINUTE_US, Trade

pytestmark = pytest.mark.integration
SYMBOL = "PAGEUSDT"
SMALL = "0.00001234"


@pytest.fixture(scope="module")
def settings() -> Iterator[Settings]:
    """A stack with trades of the last hour; the newest has a price with eight decimals.

    It has a home of its own, because the stores that other tests start must be off here.
    """
    npm_folder("lightweight-charts")
    now_us = int(datetime.now(UTC).replace(second=0, microsecond=0).timestamp()) * 10**6
    made = [
        Trade(number + 1, price=f"0.0000{1200 + number:04d}", qty=f"{number + 1}.00000001",
              time_us=now_us - (59 - number) * MINUTE_US, symbol=SYMBOL, market="spot")
        for number in range(60)
    ]  # fmt: skip
    made[-1] = Trade(60, price=SMALL, qty="7.00000003", time_us=now_us, symbol=SYMBOL, market="spot")
    with own_home():
        up(services=["postgres", "redis", "lakefs", "api"])
        settings = load_settings()
        write(settings, made)
        yield settings


@pytest.fixture
def real(browser: Chrome, settings: Settings) -> Iterator[OpenPage]:
    opened = OpenPage(browser, settings.api_url)
    opened.complaints()
    eventually(lambda: opened.open(f"#market=spot&symbol={SYMBOL}&interval=1m") and SYMBOL in opened.text("#symbol"))
    opened.shows("#connection", "live")
    opened.shows("#legend", "Close")
    yield opened
    browser.get("about:blank")


def test_the_page_shows_the_stored_candles_to_the_last_digit(real: OpenPage) -> None:
    figures = settled(real, "Close", SMALL)
    assert figures["Volume"] == "7.00000003"
    assert figures["Average 1 min"] == SMALL
    assert real.text("#price") == SMALL
    assert real.run("return document.querySelector('#chart canvas') !== null")  # the library came from the cache


def test_the_browser_has_nothing_to_complain_about_but_stores_that_are_off(real: OpenPage) -> None:
    real.shows("#facts", "Newest trade on this page")
    complaints = [one for one in real.complaints() if "status of 503" not in one]
    assert complaints == []
    names = real.run("return performance.getEntriesByType('resource').map((one) => one.name)")
    assert [name for name in names if not name.startswith(f"{real.url}/")] == []


def test_stores_that_are_off_are_named_with_a_command(real: OpenPage) -> None:
    # Kafka does not run here, so nobody knows of gaps.
    real.shows(".gaps-panel .state", "Next: tickhouse")
    assert real.find(".gaps-panel .state").get_attribute("data-state") == "error"


def test_trades_and_candles_of_the_stream_reach_the_screen(real: OpenPage, settings: Settings) -> None:
    settled(real, "Close", SMALL)
    time = datetime.now(UTC)
    minute = time.replace(second=0, microsecond=0)
    send(settings, TRADE, trade_document("0.00009999", 61, time))
    figures = settled(real, "Close", "0.00009999")
    assert figures["High"] == "0.00009999"
    assert real.find("#price").get_attribute("data-event") == f"binance:spot:{SYMBOL}:aggTrade:61"

    prices = {"open": SMALL, "high": "0.00009999", "low": SMALL, "close": "0.00009999"}
    amounts = {"volume": "8.5", "quote_volume": "0.0001", "vwap": "0.0000117647058824", "taker_buy_volume": "0"}
    bar = {"interval": "1m", "open_time": minute, **prices, **amounts, "trades": 2, "is_closed": False}
    send(settings, CANDLE, bar)
    settled(real, "Volume", "8.5")


def trade_document(price: str, number: int, time: datetime) -> dict[str, str]:
    time_us = int(time.timestamp() * 10**6)
    event_id = f"binance:spot:{SYMBOL}:aggTrade:{number}"
    return {"price": price, "qty": "1", "side": "BUY", "trade_time": utc_text(time_us), "event_id": event_id}


def send(settings: Settings, kind: str, document: dict[str, object] | dict[str, str]) -> None:
    with redis.Redis.from_url(settings.redis_dsn()) as client:
        client.xadd(KEY, entry(kind, "spot", SYMBOL, document))  # type: ignore[arg-type]


def test_a_restart_of_the_api_loses_nothing(real: OpenPage, settings: Settings) -> None:
    time = datetime.now(UTC) + timedelta(minutes=1)
    send(settings, TRADE, trade_document("0.00008001", 71, time))
    settled(real, "Close", "0.00008001")
    supervisor.stop(["api"])
    real.shows("#connection", "reconnecting")
    send(settings, TRADE, trade_document("0.00008090", 72, time))
    send(settings, TRADE, trade_document("0.00008002", 73, time))
    up(services=["api"])
    real.shows("#connection", "live")
    assert settled(real, "Close", "0.00008002")["High"] == "0.00008090"  # of the one in between


def test_the_newest_commit_of_the_lake_is_shown(real: OpenPage, settings: Settings) -> None:
    real.shows("#lake", "Newest commit of main")
    newest = repository(settings).branch("main").head.id  # type: ignore[union-attr]
    assert real.find("#lake code").get_attribute("title") == newest


def test_movers_come_from_the_stored_candles(real: OpenPage) -> None:
    real.shows("#movers", SYMBOL)
    percent = real.find(f"#movers tr:has([data-symbol={SYMBOL}]) .change").get_attribute("title") or ""
    expected = (Decimal(SMALL) / Decimal("0.00001200") - 1) * 100
    assert abs(Decimal(percent.removesuffix(" %")) - expected) < Decimal("0.01")
