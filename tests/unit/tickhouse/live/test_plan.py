"""Which symbols are chosen, what a job costs, and what happens when the exchange is away."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import ConfigurationError, ExchangeUnavailable, UnknownName
from common.live_job import LiveRequest, SymbolSelection, write_job
from common.market_kind import HEADER, SIMULATED, claim
from producer.exchange.rest_responses import ExchangeInfo
from tickhouse.live.estimate import JobEstimate, Sizing, estimate, sizing
from tickhouse.live.market_data import DayTicker, MarketData, fetch, joined
from tickhouse.live.plan import plan
from tickhouse.live.selection import choose, differences

DAY_MS = 86_400_000
COSTS = Sizing(
    measured_at="never",
    bytes_per_trade={"kafka": 100, "lake": 50},
    bytes_per_tick={"kafka": 80},
    bytes_per_bar={"postgres": 400},
    cpu_percent_at={10: 1.0, 100: 5.5, 1000: 10.0},
    memory_mb={"base": 100, "per_symbol": 0.5},
)


def info(*symbols: dict[str, Any], market: str = "spot") -> dict[str, Any]:
    limits = [{"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000}]
    status = "contractStatus" if market == "coinm" else "status"
    return {"symbols": [{status: "TRADING", **symbol} for symbol in symbols], "rateLimits": limits}


SPOT = info(
    {"symbol": "BTCUSDT", "quoteAsset": "USDT"},
    {"symbol": "ETHUSDT", "quoteAsset": "USDT"},
    {"symbol": "OLDUSDT", "quoteAsset": "USDT", "status": "BREAK"},
    {"symbol": "BTCIDR", "quoteAsset": "IDR"},
)


def ticker(symbol: str, count: int, volume: str, **more: Any) -> dict[str, Any]:
    return {"symbol": symbol, "count": count, "quoteVolume": volume, "openTime": 0, "closeTime": DAY_MS, **more}


TICKERS = [
    ticker("BTCUSDT", 8_640_000, "1000.5"),
    ticker("ETHUSDT", 864_000, "2000.25"),
    ticker("OLDUSDT", 0, "99999"),
    ticker("BTCIDR", 86_400, "9000000000000"),
]


def data(document: dict[str, Any] = SPOT, tickers: list[dict[str, Any]] = TICKERS) -> MarketData:
    decoded = [msgspec.convert(one, DayTicker) for one in tickers]
    found = msgspec.json.decode(json.dumps(document), type=ExchangeInfo)
    return MarketData(found, {one.symbol: one for one in decoded})


def request(market: str = "spot", **changes: Any) -> LiveRequest:
    selection = SymbolSelection(**changes.pop("selection", {"quote": "USDT"}))
    urls = {"ws_url": "ws://h", "rest_url": "http://h"}
    return LiveRequest(market=market, selection=selection, **urls, **changes)  # type: ignore[arg-type]


# -- symbols ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("selection", "named", "taken"),
    [
        ({"symbols": ("ETHUSDT",)}, ("ETHUSDT",), ["ETHUSDT"]),
        ({"quote": "USDT", "top": 1}, ("ETHUSDT",), ["ETHUSDT"]),
        ({"quote": "USDT", "top": 9}, ("ETHUSDT", "BTCUSDT"), ["ETHUSDT", "BTCUSDT"]),
        ({"quote": "USDT"}, (), ["BTCUSDT", "ETHUSDT"]),
        ({}, (), ["BTCUSDT", "ETHUSDT", "BTCIDR"]),
    ],
)
def test_symbols_by_list_volume_quote_and_all(selection: Any, named: Any, taken: Any) -> None:
    assert choose(request(selection=selection), data()) == (named, taken)


def test_volume_of_coin_m_is_contracts_times_their_size() -> None:
    document = info(
        {"symbol": "BTCUSD_PERP", "quoteAsset": "USD", "contractSize": 100},
        {"symbol": "ETHUSD_PERP", "quoteAsset": "USD", "contractSize": 10},
        market="coinm",
    )
    tickers = [
        {"symbol": "BTCUSD_PERP", "count": 1, "volume": "20", "baseVolume": "1"},
        {"symbol": "ETHUSD_PERP", "count": 1, "volume": "150", "baseVolume": "9"},
    ]
    asked = request("coinm", selection={"quote": "USD", "top": 1})

    assert choose(asked, data(document, tickers))[0] == ("BTCUSD_PERP",)


@pytest.mark.parametrize(
    ("selection", "words"),
    [
        ({"symbols": ("BTCUSDC", "ETHUSDT")}, "does not trade BTCUSDC now. Did you mean BTCUSDT"),
        ({"symbols": ("OLDUSDT",)}, "does not trade OLDUSDT now"),
        ({"quote": "EUR"}, "no symbol with quote asset 'EUR' trades now. The quote assets are USDT, IDR."),
    ],
)
def test_symbols_that_do_not_trade_are_refused(selection: Any, words: str) -> None:
    with pytest.raises(UnknownName, match=words):
        choose(request(selection=selection), data())


@given(st.permutations(TICKERS))
def test_the_top_does_not_depend_on_the_order_of_the_answer(tickers: list[dict[str, Any]]) -> None:
    asked = request(selection={"quote": "USDT", "top": 2})

    assert choose(asked, data(tickers=tickers))[0] == ("ETHUSDT", "BTCUSDT")


def test_differences_are_told_in_words() -> None:
    before = request(selection={"symbols": ("A", "B")})
    after = request(selection={"symbols": ("B", "C")}, streams=("trade",), sample_s=7)

    assert differences(before, before) == []
    assert differences(before, after) == ["symbols: +C -A", "streams: aggTrade, ticker -> trade", "sample_s: 5 -> 7"]
    assert differences(request(), request(selection={"quote": "USDT", "top": 2})) == [
        "symbols: all of USDT -> top 2 of USDT by volume"
    ]


# -- costs -----------------------------------------------------------------------------------------


def costs_of(asked: LiveRequest, found: MarketData, joined_trades: float | None = 2.0) -> JobEstimate:
    symbols = choose(asked, found)[1]
    return estimate(asked, found, symbols, trades_per_aggregate=joined_trades, weight_per_minute=6000, costs=COSTS)


def test_an_estimate_is_arithmetic_on_the_tickers() -> None:
    found = costs_of(request(streams=("aggTrade", "ticker", "bookTicker")), data())

    rates = {stream.stream: (stream.received_per_s, stream.stored_per_s) for stream in found.streams}
    # 110 single trades per second; two symbols, of which one tick in 5 s is kept.
    assert rates == {"aggTrade": (55.0, 55.0), "ticker": (2.0, 0.4), "bookTicker": (None, 0.4)}
    assert found.cpu_percent == round(1.0 + 4.5 * 47 / 90, 1)
    assert found.memory_mb == round(100 + 0.5 * 2 * 3)
    day = 86_400
    assert found.disk_bytes_per_day == {
        "kafka": round(55 * 100 * day + 0.8 * 80 * day),
        "lake": 55 * 50 * day,
        "postgres": 2 * 1440 * 400,
    }
    assert found.bytes_per_day == sum(found.disk_bytes_per_day.values())
    assert found.notes == ("CPU without bookTicker: the exchange publishes no figure of its updates",)


@pytest.mark.parametrize(("per_s", "percent"), [(0, 0.0), (5, 0.5), (10, 1.0), (100, 5.5), (550, 7.8), (2000, 20.0)])
def test_cpu_lies_between_the_measured_rates(per_s: int, percent: float) -> None:
    tickers = [ticker("BTCUSDT", per_s * 86_400, "1")]

    assert costs_of(request(streams=("trade",)), data(tickers=tickers)).cpu_percent == percent


def test_a_rate_is_over_the_window_that_the_exchange_names() -> None:
    young = [ticker("BTCUSDT", 600, "1") | {"openTime": 1_000, "closeTime": 61_000}]

    (stream,) = costs_of(request(streams=("trade",)), data(tickers=young)).streams
    assert stream.stored_per_s == 10.0


def test_without_trades_there_is_no_estimate_and_it_says_so() -> None:
    found = costs_of(request(streams=("aggTrade",)), data(tickers=[]), None)

    assert found.bytes_per_day == 0
    assert "no trades of these symbols" in found.notes[0]
    assert "at most" in found.streams[0].source


def test_rest_alone_names_the_time_of_a_round() -> None:
    found = costs_of(request(streams=("aggTrade",), is_rest_only=True), data())

    # Two symbols at weight 4, of 70 % of 6,000 per minute.
    assert found.rest_round_s == round(8 / 4200 * 60, 1)


def test_aggregates_without_trades_of_their_own_are_left_out() -> None:
    page = [{"f": 1, "l": 3}, {"f": -1, "l": -1}, {"f": 4, "l": 4}]

    assert joined(fetch_page(page)) == 2.0
    assert joined([]) is None


def fetch_page(page: list[dict[str, int]]) -> Any:
    from tickhouse.live.market_data import _decode_page

    return _decode_page(json.dumps(page))


def test_the_measured_costs_load() -> None:
    assert {"kafka", "enriched", "lake"} == set(sizing().bytes_per_trade)


# -- the exchange ----------------------------------------------------------------------------------


def exchange(answers: dict[str, Any], headers: dict[str, str] | None = None) -> httpx.Client:
    def answer(asked: httpx.Request) -> httpx.Response:
        path = asked.url.path.removeprefix("/api/v3/")
        found = answers.get(path, [])
        if isinstance(found, Exception):
            raise found
        return found if isinstance(found, httpx.Response) else httpx.Response(200, json=found, headers=headers or {})

    return httpx.Client(transport=httpx.MockTransport(answer))


@pytest.mark.parametrize(
    ("answer", "words", "wait_s"),
    [
        (httpx.ConnectError("no route"), "ConnectError: no route", 0.0),
        (httpx.Response(451, text="{}"), "HTTP 451, Binance does not serve this region", 0.0),
        (httpx.Response(403, text="<html>"), "HTTP 403, a firewall refuses this address", 0.0),
        (httpx.Response(429, headers={"Retry-After": "17"}), "wait 17 s", 17.0),
        (httpx.Response(200, text="<html>"), "not JSON of the expected shape", 0.0),
        (httpx.Response(503, text="busy"), "HTTP 503, busy", 0.0),
    ],
)
def test_an_exchange_that_does_not_answer_is_told_with_what_to_do(answer: Any, words: str, wait_s: float) -> None:
    with exchange({"exchangeInfo": answer}) as http, pytest.raises(ExchangeUnavailable) as failed:
        fetch(http, request())

    assert words in failed.value.message
    assert "http://h/api/v3/exchangeInfo" in failed.value.message
    assert "--exchange-url" in failed.value.next_command
    assert failed.value.retry_after_s == wait_s


@pytest.fixture
def answers() -> dict[str, Any]:
    return {"exchangeInfo": SPOT, "ticker/24hr": TICKERS, "aggTrades": [{"f": 1, "l": 2}]}


@pytest.fixture
def http(answers: dict[str, Any]) -> Iterator[httpx.Client]:
    with exchange(answers) as client:
        yield client


def test_a_start_that_is_repeated_keeps_the_symbols(
    tmp_path: Path, http: httpx.Client, answers: dict[str, Any]
) -> None:
    asked = request(selection={"quote": "USDT", "top": 1})
    (first,) = plan(tmp_path, [asked], http, clock=lambda: 0.0)
    assert (first.change, first.job.symbols) == ("new", ("ETHUSDT",))
    assert first.job.chosen_at == "1970-01-01T00:00:00Z"
    write_job(tmp_path, first.job)

    answers["ticker/24hr"] = [ticker("BTCUSDT", 1, "9999"), ticker("ETHUSDT", 1, "1")]
    (again,) = plan(tmp_path, [asked], http)
    assert (again.change, again.job) == ("unchanged", first.job)
    (anew,) = plan(tmp_path, [asked], http, choose_again=True)
    assert (anew.change, anew.job.symbols, anew.differences) == (
        "changed",
        ("BTCUSDT",),
        ("symbols: +BTCUSDT -ETHUSDT",),
    )
    (other,) = plan(tmp_path, [request(selection={"symbols": ("BTCUSDT",)})], http)
    assert (other.change, other.differences) == ("changed", ("symbols: top 1 of USDT by volume -> BTCUSDT",))


def test_an_unchanged_job_starts_without_the_exchange_and_a_new_one_does_not(
    tmp_path: Path, http: httpx.Client, answers: dict[str, Any]
) -> None:
    (first,) = plan(tmp_path, [request()], http)
    write_job(tmp_path, first.job)
    answers["exchangeInfo"] = httpx.ConnectError("down")

    (again,) = plan(tmp_path, [request()], http)
    assert (again.change, again.estimate) == ("unchanged", None)
    assert "down" in again.problem
    with pytest.raises(ExchangeUnavailable):
        plan(tmp_path, [request(sample_s=6)], http)


def test_a_synthetic_market_is_refused_in_a_home_of_real_trades(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TICKHOUSE_ALLOW_MIXED_MARKETS", raising=False)
    claim(tmp_path, "real")
    answers = {"exchangeInfo": SPOT, "ticker/24hr": TICKERS}

    with exchange(answers, {HEADER: SIMULATED}) as http, pytest.raises(ConfigurationError, match="holds real trades"):
        plan(tmp_path, [request()], http)
