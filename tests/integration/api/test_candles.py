"""Candles over HTTP against `tickhouse candles`, the reader, and the models of the API."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from typer.testing import CliRunner

from api.answers import utc_text
from api.models import AnswerPage, Candle
from tests.integration.api.conftest import BRANCH, CHINESE, Api
from tickhouse import read
from tickhouse.candles import INTERVALS_MS, CandleBar, aggregated
from tickhouse.cli import app

pytestmark = pytest.mark.integration
START, END = "2024-08-10T00:00:00Z", "2024-08-12T00:00:00Z"
SYMBOLS = [("spot", "APIUSDT"), ("spot", CHINESE), ("coinm", "APIUSD_PERP")]
AMOUNTS = ("open", "high", "low", "close", "volume", "quote_volume", "taker_buy_volume")


def of_command(market: str, symbol: str, interval: str) -> list[dict[str, Any]]:
    arguments = ["candles", "--market", market, "--symbol", symbol, "--from", START, "--to", END]
    result = CliRunner().invoke(app, [*arguments, "--interval", interval, "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def time_of(open_time_ms: int) -> str:
    return utc_text(datetime.fromtimestamp(open_time_ms / 1000, UTC))


@pytest.mark.parametrize("interval", INTERVALS_MS)
@pytest.mark.parametrize(("market", "symbol"), SYMBOLS)
def test_live_candles_are_those_of_the_command_to_the_digit(api: Api, market: str, symbol: str, interval: str) -> None:
    found = api.data("/v1/candles", market=market, symbol=symbol, interval=interval, from_=START, to=END, limit=97)

    expected = of_command(market, symbol, interval)
    assert len(expected) > 1
    assert [row["open_time"] for row in found] == [time_of(row["open_time_ms"]) for row in expected]
    assert [[row[name] for name in (*AMOUNTS, "trades")] for row in found] == [
        [row[name] for name in (*AMOUNTS, "trades")] for row in expected
    ]
    AnswerPage[Candle].model_validate({"data": found, "next": None})


def test_the_average_is_that_of_the_table(api: Api) -> None:
    import psycopg

    with psycopg.connect(api.settings.database_dsn("reader")) as connection:
        query = "SELECT vwap::text FROM market.candles WHERE market = %s AND symbol = %s ORDER BY open_time"
        for market, symbol in SYMBOLS:
            rows = connection.execute(query, (market, symbol)).fetchall()
            found = api.data("/v1/candles", market=market, symbol=symbol, from_=START, to=END)
            assert [row["vwap"] for row in found] == [vwap for (vwap,) in rows]


def test_without_a_start_the_newest_intervals(api: Api) -> None:
    everything = api.data("/v1/candles", market="spot", symbol="APIUSDT", interval="1h", from_=START, to=END)

    newest = api.get("/v1/candles", market="spot", symbol="APIUSDT", interval="1h", limit=5).json()
    assert newest == {"data": everything[-5:], "next": None}
    before = newest["data"][0]["open_time"]
    older = api.get("/v1/candles", market="spot", symbol="APIUSDT", interval="1h", limit=5, to=before).json()
    assert older["data"] == everything[-10:-5]


def test_latin_letters_of_a_symbol_in_any_case(api: Api) -> None:
    assert api.get("/v1/candles", market="spot", symbol="apiusdt", limit=3).json()["data"]
    assert api.get("/v1/candles", market="spot", symbol="币安测试usdt", limit=3).json()["data"]


@pytest.mark.parametrize("interval", ["1m", "5m", "1h", "1d"])
def test_candles_of_a_commit_are_those_of_the_reader(api: Api, lake_commit: str, interval: str) -> None:
    span = {"from_": "2024-08-08T12:00:00Z", "to": "2024-08-10"}
    found = api.data("/v1/candles", market="spot", symbol="BTCUSDT", interval=interval, ref=BRANCH, limit=500, **span)

    rows = read.candles(
        "BTCUSDT", market="spot", interval=interval, start="2024-08-08T12:00", end="2024-08-10", as_of=lake_commit
    )
    names = (*AMOUNTS, "vwap", "trades")
    assert [[row[name] for name in names] for row in found] == [
        [text(row[name]) for name in names] for row in rows.arrow().to_pylist()
    ]
    AnswerPage[Candle].model_validate({"data": found, "next": None})


def test_an_interval_that_the_lake_does_not_have_is_added_up(api: Api, lake_commit: str) -> None:
    span = {"from_": "2024-08-08", "to": "2024-08-10", "market": "spot", "symbol": "BTCUSDT", "ref": lake_commit}
    minutes = api.data("/v1/candles", interval="1m", **span)
    found = api.data("/v1/candles", interval="15m", limit=7, **span)

    expected = aggregated((bar_of(row) for row in minutes), INTERVALS_MS["15m"])
    names = (*AMOUNTS[:-1], "trades")
    assert [[row[name] for name in names] for row in found] == [
        [bar.document()[name] for name in names] for bar in expected
    ]
    assert [row["open_time"] for row in found[:2]] == ["2024-08-08T12:00:00Z", "2024-08-08T12:15:00Z"]


def bar_of(row: dict[str, Any]) -> CandleBar:
    amounts = {name: Decimal(row[name]) for name in AMOUNTS}
    time_ms = int(datetime.fromisoformat(row["open_time"]).timestamp() * 1000)
    return CandleBar(open_time_ms=time_ms, trades=row["trades"], taker_buy_quote_volume=Decimal(0), **amounts)


def text(value: Any) -> Any:
    return value if value is None or isinstance(value, int) else f"{value:f}"


def test_a_page_of_a_commit_skips_days_that_it_does_not_have(api: Api, lake_commit: str) -> None:
    parameters = {"market": "spot", "symbol": "BTCUSDT", "interval": "1h", "ref": lake_commit}
    answer = api.get("/v1/candles", **parameters, from_="1970-01-01", to="2200-01-01", limit=3)

    assert [row["open_time"] for row in answer.json()["data"]] == [
        f"2024-08-08T{hour:02d}:00:00Z" for hour in (12, 13, 14)
    ]
    assert answer.headers["X-Lake-Commit"] == lake_commit
    assert api.data("/v1/candles", **parameters, from_="2024-08-10", to="2200-01-01") == []
    everything = api.data("/v1/candles", **parameters, from_="2024-08-08")
    assert len(everything) == 24
    for limit in (2, 20, 1000):
        assert api.get("/v1/candles", **parameters, limit=limit).json()["data"] == everything[-limit:]


def test_times_beyond_all_data_are_no_error(api: Api) -> None:
    for first, last in (("0001-01-01", "9999-12-31T23:59:59.999999Z"), ("9999-12-31", "0001-01-01")):
        for interval in INTERVALS_MS:
            assert (
                api.get(
                    "/v1/candles", market="spot", symbol="APIUSDT", interval=interval, from_=first, to=last, limit=1
                ).status_code
                == 200
            )
