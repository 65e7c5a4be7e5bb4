"""aggTrade stops while other streams go on, as on Binance's USD-M address on 2026-04-23.

Source: github.com/binance/binance-public-data/issues/472: SUBSCRIBE is answered with success,
`@trade` and `@depth` flow, `@aggTrade` sends nothing for 14 hours. Right: the silence is noticed
within two minutes, filled from REST, and shown by `status` and a metric.
"""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from producer.__main__ import _collector
from producer.exchange import connection
from producer.recovery.silent_streams import COMPARE_SHARE, EVERY_S, GRACE_S, SilentStreamWatch
from tests.field.in_process_exchange import InProcessExchange, producing, refusal, served, trading, until


@pytest.fixture(autouse=True)
def _fast_messages(monkeypatch):
    monkeypatch.setattr(connection, "MESSAGE_PAUSE_S", 0.01)


BTC, ETH, QUIET = "BTCUSDT", "ETHUSDT", "XRPETH"


def silent(running):
    return {symbol for _, symbol in running.live.silence.silent_s()}


def metrics(running) -> str:
    registry = CollectorRegistry()
    registry.register(_collector(running.live))
    return generate_latest(registry).decode()


def is_whole(running, exchange, symbol):
    ids = running.ids(symbol)
    return bool(ids) and ids == list(range(ids[0], ids[-1] + 1)) and len(ids) == len(set(ids))


def test_a_silent_stream_is_noticed_filled_and_shown_by_metrics():
    async def run():
        exchange = InProcessExchange().add(BTC, ETH, QUIET, newest=100)
        async with served(exchange), producing(exchange, BTC, ETH, QUIET) as running, trading(exchange, BTC, ETH):
            await until(lambda: len(running.ids(BTC)) > 20 and len(running.ids(ETH)) > 20)
            exchange.is_silent = lambda name: name == "btcusdt@aggTrade"
            await until(lambda: silent(running) == {BTC})
            assert 'silent_stream_seconds{market="spot",stream="aggTrade",symbol="BTCUSDT"}' in metrics(running)
            assert "tickhouse_producer_silent_streams 1.0" in metrics(running)
            reached = exchange.ids[BTC] + 50
            await until(lambda: running.ids(BTC)[-1] >= reached)  # polled while it stays silent
            exchange.is_silent = lambda name: False
            await until(lambda: not silent(running))
            assert "tickhouse_producer_silent_streams 0.0" in metrics(running)
            await until(lambda: running.ids(BTC)[-1] > reached + 50)
            assert is_whole(running, exchange, BTC)
            assert is_whole(running, exchange, ETH)
            assert running.live.silence.episodes == 1
            assert exchange.connections[""] == 2  # replaced once, not at every check
        assert running.live.writer.gaps.open_gaps() == []

    asyncio.run(run())


def test_a_quiet_market_is_no_silent_stream():
    async def run():
        exchange = InProcessExchange().add(BTC, QUIET, newest=100)
        async with served(exchange), producing(exchange, BTC, QUIET) as running, trading(exchange, BTC):
            await exchange.trade(QUIET)
            await until(lambda: running.live.silence.requests >= 6)
            assert running.live.silence.episodes == 0
            assert exchange.connections[""] == 1

    asyncio.run(run())


def test_a_stream_that_never_began_starts_at_its_subscription():
    async def run():
        exchange = InProcessExchange().add(BTC, ETH, QUIET, newest=100)
        exchange.is_silent = lambda name: name == "ethusdt@aggTrade"
        async with served(exchange), producing(exchange, BTC, ETH, QUIET) as running:
            await until(running.is_connected)
            async with trading(exchange, BTC, ETH):
                await until(lambda: running.ids(ETH) and running.ids(ETH)[-1] > 120)
                assert running.ids(ETH)[0] == 101
                assert is_whole(running, exchange, ETH)
                assert silent(running) == {ETH}
                assert running.ids(QUIET) == []  # what was traded before the subscription is not its concern

    asyncio.run(run())


def test_without_the_exchanges_clock_a_stream_begins_where_rest_was():
    async def no_time(path, query):
        return refusal(-1000, "An unknown error occurred.", 400) if path == "time" else None

    async def run():
        exchange = InProcessExchange(override=no_time).add(ETH, newest=100)
        exchange.is_silent = lambda name: "aggTrade" in name
        async with served(exchange), producing(exchange, ETH) as running, trading(exchange, ETH):
            await until(lambda: len(running.ids(ETH)) > 5)
            assert is_whole(running, exchange, ETH)

    asyncio.run(run())


def test_a_silent_stream_of_a_quiet_market_is_noticed_again_at_the_next_trade():
    async def run():
        exchange = InProcessExchange().add(BTC, ETH, newest=100)
        async with served(exchange), producing(exchange, BTC, ETH) as running:
            async with trading(exchange, BTC, ETH):
                await until(lambda: len(running.ids(BTC)) > 20 and len(running.ids(ETH)) > 20)
                exchange.is_silent = lambda name: name == "ethusdt@aggTrade"
                await until(lambda: silent(running) == {ETH})
            async with trading(exchange, BTC):
                await until(lambda: not silent(running))
                assert running.ids(ETH)[-1] == exchange.ids[ETH]
                await exchange.trade(ETH)
                await until(lambda: silent(running) == {ETH})
                await until(lambda: running.ids(ETH)[-1] == exchange.ids[ETH])
            assert is_whole(running, exchange, ETH)
            assert running.live.silence.episodes == 1  # not said again within ten minutes

    asyncio.run(run())


def test_futures_streams_go_to_the_address_that_serves_them():
    async def run():
        exchange = InProcessExchange(market="usdm", routed=True).add(BTC, newest=100)
        streams = ("aggTrade", "bookTicker")
        async with (
            served(exchange),
            producing(exchange, BTC, streams=streams) as running,
            trading(exchange, BTC),
        ):
            await until(lambda: len(running.ids(BTC)) > 20)
            assert running.live.silence.episodes == 0
            assert sorted(exchange.connections) == ["/market", "/public"]
            named = {route: names for route, names in exchange.sockets.values()}
            assert named == {"/market": {"btcusdt@aggTrade"}, "/public": {"btcusdt@bookTicker"}}
            assert set(running.sources) == {"WEBSOCKET"}

    asyncio.run(run())


def test_the_old_address_of_april_2026_is_silent_and_rest_fills():
    async def run():
        exchange = InProcessExchange(market="usdm", routed=True).add(BTC, ETH, newest=100)
        async with (
            served(exchange),
            producing(exchange, BTC, ETH, ws_routes="none") as running,
            trading(exchange, BTC, ETH),
        ):
            await until(lambda: silent(running) == {BTC, ETH})
            await until(lambda: len(running.ids(BTC)) > 50 and len(running.ids(ETH)) > 50)
            assert is_whole(running, exchange, BTC)
            assert is_whole(running, exchange, ETH)
            assert set(running.sources) == {"REST"}

    asyncio.run(run())


def test_a_server_without_routes_is_connected_to_all_the_same():
    async def run():
        exchange = InProcessExchange(market="usdm").add(BTC, newest=100)
        routes = "aggTrade=/nowhere,ticker=/nowhere"
        async with served(exchange), producing(exchange, BTC, ws_routes=routes) as running:
            await until(running.is_connected)
            await exchange.trade(BTC, 5)
            await until(lambda: len(running.ids(BTC)) == 5)
            assert [*exchange.connections] == [""]

    asyncio.run(run())


def test_one_request_per_check_covers_hundreds_of_symbols():
    """500 symbols of which one is silent: the 24 h tickers find it, and the budget is kept."""
    symbols = [f"S{number}USDT" for number in range(500)]

    async def run():
        # It checks ten times as often as in production, so it may use ten times the weight.
        exchange = InProcessExchange(weight_limit=100_000).add(*symbols, newest=100)
        async with served(exchange), producing(exchange, *symbols, compare_every_s=2.0) as running:
            await until(lambda: running.is_connected() and running.live.rest.budget.limit == 100_000)
            for symbol in symbols:
                await exchange.trade(symbol)
            await until(lambda: all(map(running.ids, symbols)))
            exchange.is_silent = lambda name: name == "s77usdt@aggTrade"
            async with trading(exchange, "S77USDT"):
                await until(lambda: silent(running) == {"S77USDT"})
            assert exchange.requests["ticker/24hr"] >= 1
            looks = exchange.requests["ticker/24hr"] + 2
            assert running.live.silence.weight <= looks * running.live.silence._weight_per_check()
            assert running.live.silence.episodes == 1

    asyncio.run(run())


def test_the_defaults_notice_within_two_minutes_and_use_a_tenth_of_the_weight():
    """A silence may begin just after a check: two checks notice it, the third has new tickers."""
    assert 3 * EVERY_S + GRACE_S < 120
    assert COMPARE_SHARE <= 0.1


def test_streams_that_the_budget_left_out_come_first_next_time():
    exchange = InProcessExchange().add(*(f"S{number}USDT" for number in range(10)), newest=100)

    async def run():
        async with served(exchange), producing(exchange, *exchange.ids, compare_every_s=3600) as running:
            await until(running.is_connected)
            watch: SilentStreamWatch = running.live.silence
            watch._every_s = 1.2  # 6,000 * 0.1 / 60 s * 1.2 s = 12: three comparisons of weight 4
            await until(lambda: running.live.rest.budget.limit == 6000)
            await watch.check_streams()  # all are seen for the first time
            compared = []
            for _ in range(4):
                await watch.check_streams()
                compared.append([one.compared_at for one in watch._streams.values()].count(0.0))
            assert compared == [7, 4, 1, 0]

    asyncio.run(run())
