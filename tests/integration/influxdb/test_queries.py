"""The queries of the dashboards, each against trades whose answer is known."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from common.clients.influxdb import QUERIES, query_text
from common.errors import ConfigurationError
from tests.integration.influxdb.conftest import SeriesBench
from tests.integration.influxdb.test_roll_ups import an_hour_ago
from tests.unit.tickhouse.checks.reconcile.samples import BTC, ETH, trade

pytestmark = pytest.mark.integration

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Price and quantity by seconds since the start: two minutes of BTC, one of ETH.
BTC_TRADES = [(0, 100, 2), (10, 110, 1), (59, 90, 1), (60, 120, 3), (119, 130, 1)]
ETH_TRADES = [(5, 10, 1), (6, 10, 1), (50, 11, 2)]


@pytest.fixture
def start(bench: SeriesBench) -> datetime:
    """Write the trades, and return the start of their first minute."""
    start_us = an_hour_ago()
    bench.write(
        [
            trade(
                number, key=key, time_us=start_us + second * 10**6, price=price * 10**8, qty=qty * 10**8,
                side="BUY" if number % 2 == 0 else "SELL",
            )
            for key, trades in ((BTC, BTC_TRADES), (ETH, ETH_TRADES))
            for number, (second, price, qty) in enumerate(trades)
        ]
    )  # fmt: skip
    return EPOCH + timedelta(microseconds=start_us)


def ask(bench: SeriesBench, name: str, start: datetime, **more: str) -> list[dict[str, str]]:
    return bench.flux(query_text(name), start=start, stop=start + timedelta(minutes=5), **more)


BTCUSDT = {"market": "spot", "symbol": "BTCUSDT", "stream": "aggTrade"}


def test_candles(bench: SeriesBench, start: datetime) -> None:
    rows = ask(bench, "candles", start, **BTCUSDT)

    names = ("open", "high", "low", "close", "volume", "quote_volume", "buy_volume", "trades")
    assert [[float(row[name]) for name in names] for row in rows] == [
        [100, 110, 90, 90, 4, 400, 3, 3],
        [120, 130, 120, 130, 4, 490, 1, 2],
    ]


def test_price_and_averages(bench: SeriesBench, start: datetime) -> None:
    rows = ask(bench, "price_and_averages", start, **BTCUSDT)

    found: dict[str, list[float]] = {}
    for row in rows:
        found.setdefault(row["name"], []).append(float(row["_value"]))
    assert found["price"] == [100, 110, 90, 120, 130]
    assert found["average_1m"] == [100, 122.5]
    assert found["average_5m"][:2] == [100, 111.25]


def test_trades_per_second(bench: SeriesBench, start: datetime) -> None:
    rows = ask(bench, "trades_per_second", start)

    counts = {
        symbol: sum(int(row["_value"]) for row in rows if row["symbol"] == symbol) for symbol in ("BTCUSDT", "ETHUSDT")
    }
    assert counts == {"BTCUSDT": 5, ETH.symbol: 3}


def test_volatility_names_the_widest_range_first(bench: SeriesBench, start: datetime) -> None:
    rows = ask(bench, "volatility", start)

    assert [row["symbol"] for row in rows] == ["BTCUSDT", "ETHUSDT"]
    assert float(rows[0]["_value"]) == pytest.approx((20.0 + 100 * 10 / 120) / 2)
    assert float(rows[1]["_value"]) == pytest.approx(10.0)


def test_taker_pressure(bench: SeriesBench, start: datetime) -> None:
    rows = ask(bench, "taker_pressure", start, **BTCUSDT)

    assert [float(row["_value"]) for row in rows] == [0.75, 0.25]


def test_tick_by_tick(bench: SeriesBench, start: datetime) -> None:
    rows = ask(bench, "tick_by_tick", start, **BTCUSDT)

    assert [(int(row["trade_id"]), float(row["price"]), float(row["qty"]), row["side"]) for row in rows] == [
        (number, price, qty, "BUY" if number % 2 == 0 else "SELL") for number, (_, price, qty) in enumerate(BTC_TRADES)
    ]


def test_every_query_has_a_test_and_says_its_parameters() -> None:
    names = {path.stem for path in QUERIES.glob("*.flux")}

    assert names == {
        name.removeprefix("test_").removesuffix("_names_the_widest_range_first")
        for name in globals()
        if name.startswith("test_") and "every" not in name and "unknown" not in name
    }
    assert all("// Parameters: " in query_text(name) for name in names)


def test_an_unknown_query_is_refused_by_name() -> None:
    with pytest.raises(ConfigurationError, match="candles"):
        query_text("another")
