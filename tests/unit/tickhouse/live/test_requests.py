"""Options over the settings file: what is asked for, and what is refused with which words."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import ConfigurationError
from common.live_job import LiveJob, LiveRequest, SymbolSelection, job_file, read_job, write_job
from common.settings_file import MarketSection, SettingsFile, load_settings_file
from tickhouse.live.requests import BINANCE, GivenOptions, requests

SECTION = MarketSection(symbols=("BTCUSDT", "ETHUSDT"), streams=("aggTrade",), sample_s=9)


def asked(**given: object) -> list[LiveRequest]:
    return requests({"usdm": SECTION}, GivenOptions(**given))  # type: ignore[arg-type]


def test_the_file_alone_is_enough() -> None:
    (one,) = asked()

    assert (one.market, one.selection.symbols, one.streams, one.sample_s) == ("usdm", SECTION.symbols, ("aggTrade",), 9)
    assert (one.ws_url, one.rest_url) == BINANCE["usdm"]


def test_an_option_replaces_its_value_and_leaves_the_others() -> None:
    (one,) = asked(quote="USDT", top=5, sample_s=30)

    assert one.selection == SymbolSelection(quote="USDT", top=5)
    assert (one.streams, one.sample_s) == (("aggTrade",), 30)


def test_markets_come_in_one_order_and_once() -> None:
    found = asked(markets=("usdm", "spot", "usdm"), symbols="all")

    assert [one.market for one in found] == ["spot", "usdm"]
    assert all(one.selection.in_words == "all" for one in found)


@pytest.mark.parametrize(
    ("given", "addresses"),
    [
        ({"exchange_urls": ("http://h:1/",)}, ("ws://h:1", "http://h:1")),
        ({"exchange_urls": ("http://h:1", "usdm=https://h:2")}, ("wss://h:2", "https://h:2")),
        ({"exchange_urls": ("spot=http://h:1",)}, BINANCE["usdm"]),
        ({"addresses": ("ws://e:1", "http://e:1")}, ("ws://e:1", "http://e:1")),
        ({"addresses": BINANCE["spot"]}, BINANCE["usdm"]),
    ],
)
def test_addresses_of_option_environment_and_binance(given: dict[str, object], addresses: tuple[str, str]) -> None:
    (one,) = asked(**given)

    assert (one.ws_url, one.rest_url) == addresses


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"markets": ("forex",)}, "Expected a market of spot, usdm, coinm, was 'forex'"),
        ({"markets": ("spot",)}, "Market spot: no symbols are named"),
        ({"symbols": "btcusdt"}, "BTCUSDT"),
        ({"symbols": "BTCUSDT,BTCUSDT"}, "a symbol is named twice"),
        ({"symbols": "BTCUSDT", "top": 3}, "without `quote` and `top`"),
        ({"top": 3}, "`top` needs `quote`"),
        ({"streams": "depth"}, "order books are not stored yet"),
        ({"streams": "aggTrade,depth20@100ms"}, "order books are not stored yet"),
        ({"streams": "forceOrder"}, "liquidations are not stored yet"),
        ({"streams": "liquidations"}, "liquidations are not stored yet"),
        ({"streams": "kline_1m"}, "the nightly audit compares them with the exchange's daily klines"),
        ({"streams": "aggtrade"}, "there is no stream 'aggtrade'; the streams are aggTrade, trade"),
        ({"streams": ""}, "at least one"),
        ({"streams": "aggTrade,ticker", "is_rest_only": True}, "brings aggTrade, and no ticker"),
        ({"streams": "trade", "is_rest_only": True}, "need an API key"),
        ({"exchange_urls": ("h:1",)}, "Expected --exchange-url"),
        ({"exchange_urls": ("forex=http://h:1",)}, "Expected a market"),
    ],
)
def test_what_is_refused_says_why(given: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        asked(**given)

    assert words in refused.value.message
    assert "Value error" not in refused.value.message


def test_nothing_named_at_all_shows_a_first_command() -> None:
    with pytest.raises(ConfigurationError) as refused:
        requests({}, GivenOptions())

    assert refused.value.next_command == "tickhouse live start --market spot --quote USDT --top 20"


def test_the_settings_file_is_read_and_its_unknown_keys_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TICKHOUSE_HOME", str(tmp_path))
    monkeypatch.delenv("TICKHOUSE_SETTINGS_FILE", raising=False)
    assert load_settings_file() == SettingsFile()

    file = tmp_path / "tickhouse.yaml"
    file.write_text("live:\n  spot: {quote: USDT, top: 50}\n  usdm: {symbols: all, rest_only: true}\n")
    found = load_settings_file().live
    assert found["spot"] == MarketSection(quote="USDT", top=50)
    assert found["usdm"].symbols == "all"
    file.write_text("live: {spot: {symbol: BTCUSDT}}\n")
    with pytest.raises(ConfigurationError, match=r"live\.spot\.symbol"):
        load_settings_file()
    monkeypatch.setenv("TICKHOUSE_SETTINGS_FILE", str(tmp_path / "none.yaml"))
    with pytest.raises(ConfigurationError, match=r"none\.yaml"):
        load_settings_file()


def test_a_job_is_read_as_it_was_written(tmp_path: Path) -> None:
    (request,) = asked()
    job = LiveJob(request=request, symbols=("BTCUSDT",), chosen_at="2026-11-30T12:00:00Z")

    assert read_job(job_file(tmp_path, "usdm")) is None
    assert read_job(write_job(tmp_path, job)) == job
    job_file(tmp_path, "usdm").write_text("{}")
    with pytest.raises(ConfigurationError, match="does not hold a live job"):
        read_job(job_file(tmp_path, "usdm"))
