"""The WebSocket address of each stream."""

from __future__ import annotations

import pytest

from common.errors import ConfigurationError
from producer.exchange.routes import StreamAddresses

FUTURES = "wss://fstream.binance.com"


@pytest.mark.parametrize(
    ("market", "stream", "address"),
    [
        ("usdm", "btcusdt@aggTrade", f"{FUTURES}/market"),
        ("usdm", "btcusdt@ticker", f"{FUTURES}/market"),
        ("usdm", "btcusdt@miniTicker", f"{FUTURES}/market"),
        ("usdm", "btcusdt@trade", f"{FUTURES}/public"),
        ("usdm", "btcusdt@bookTicker", f"{FUTURES}/public"),
        ("coinm", "btcusd_perp@aggTrade", f"{FUTURES}/market"),
        ("usdm", "币安人生usdt@aggTrade", f"{FUTURES}/market"),
        ("spot", "btcusdt@aggTrade", FUTURES),
        ("usdm", "btcusdt@unknown", FUTURES),
    ],
)
def test_each_market_has_its_routes(market, stream, address):
    assert StreamAddresses(FUTURES, market).of(stream) == address


@pytest.mark.parametrize("tail", ["/", "/ws", "/stream", "/market", "/public", "/market/ws", "/public/stream"])
def test_paths_copied_from_examples_are_removed_from_the_base(tail):
    assert StreamAddresses(FUTURES + tail, "usdm").of("btcusdt@trade") == f"{FUTURES}/public"


def test_routes_are_replaced_one_by_one_by_paths_or_addresses():
    addresses = StreamAddresses(FUTURES, "usdm", "trade=/market, aggTrade=wss://other.test/x/")
    assert addresses.of("btcusdt@trade") == f"{FUTURES}/market"
    assert addresses.of("btcusdt@aggTrade") == "wss://other.test/x"
    assert addresses.of("btcusdt@ticker") == f"{FUTURES}/market"


def test_none_removes_all_routes():
    assert StreamAddresses(FUTURES, "usdm", "none").of("btcusdt@aggTrade") == FUTURES


def test_the_base_replaces_a_route_that_does_not_exist():
    addresses = StreamAddresses(FUTURES, "usdm", "trade=wss://other.test")
    assert addresses.without_route(f"{FUTURES}/market") == FUTURES
    assert addresses.without_route(FUTURES) is None
    assert addresses.without_route("wss://other.test") is None


@pytest.mark.parametrize("routes", ["trade", "trade=market", "depth=/public", "trade=http://x", "=/x", "trade="])
def test_an_invalid_pair_is_a_configuration_error(routes):
    with pytest.raises(ConfigurationError):
        StreamAddresses(FUTURES, "usdm", routes)


@pytest.mark.parametrize(
    "base", ["", "stream.binance.com", "https://api.binance.com", "wss://", "ws://[::1", "ws://x:99999", "ws://x:y"]
)
def test_a_base_without_ws_is_a_configuration_error(base):
    with pytest.raises(ConfigurationError):
        StreamAddresses(base, "spot")
