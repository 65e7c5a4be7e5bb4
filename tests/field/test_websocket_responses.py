"""Bad responses and frames of the WebSocket: the live producer subscribes to all that it can."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from tests.field.bad_responses import HTML
from tests.field.in_process_exchange import InProcessExchange, producing, served, until

pytestmark = pytest.mark.usefixtures("small_limits")

BTC = "BTCUSDT"


def test_one_refused_stream_of_a_subscription_leaves_the_others_subscribed():
    symbols = [f"S{number}USDT" for number in range(60)]

    async def run():
        exchange = InProcessExchange().add(*symbols, newest=100)
        exchange.refused = {"s3usdt@aggTrade", "s41usdt@ticker"}
        async with served(exchange), producing(exchange, *symbols, compare_every_s=60.0) as running:
            await until(running.is_connected)
            [(_, names)] = exchange.sockets.values()
            assert len(names) == 2 * len(symbols) - 2
            assert running.live.shards.refused == exchange.refused
            assert exchange.requests["SUBSCRIBE"] < 40

    asyncio.run(run())


@pytest.mark.parametrize("answer", ['{"code":2,"msg":"Invalid request"}', '{"error":{"code":-1121,"msg":"x"}}'])
def test_an_error_without_an_id_belongs_to_the_one_open_request(answer):
    async def run():
        exchange = InProcessExchange().add(BTC, "BADUSDT", newest=100)
        exchange.subscribe_answer = lambda names, number: answer if "badusdt@aggTrade" in names else None
        async with served(exchange), producing(exchange, BTC, "BADUSDT", streams=("aggTrade",)) as running:
            await until(running.is_connected)
            await exchange.trade(BTC)
            await until(lambda: running.ids(BTC) == [101])

    asyncio.run(run())


@pytest.mark.parametrize(
    "frame", ["[" * 100_000, "{", "", "\x00", '{"id":1}', '{"id":[1],"code":2}', '{"id":1e400}', "[1,2]", '{"e":7}']
)
def test_invalid_frames_stop_nothing(frame):
    async def run():
        exchange = InProcessExchange().add(BTC, newest=100)
        async with served(exchange), producing(exchange, BTC) as running:
            await until(running.is_connected)
            [socket] = exchange.sockets
            await socket.send_str(frame)
            await socket.send_bytes(frame.encode() + b"\xff")
            await exchange.trade(BTC)
            await until(lambda: running.ids(BTC) == [101])
            assert running.live.shards.reconnects == 0

    asyncio.run(run())


@pytest.mark.parametrize(
    "response",
    [
        web.Response(text=HTML, content_type="text/html"),
        web.Response(status=202),
        web.Response(status=451),
        web.Response(status=503),
        web.Response(status=302, headers={"Location": "nowhere"}),
        web.Response(status=302, headers={"Location": "ftp://127.0.0.1/"}),
    ],
    ids=lambda response: str(response.status),
)
def test_a_refused_upgrade_is_tried_again(response):
    class Refusing(InProcessExchange):
        left = 2

        async def _stream(self, request):
            if self.left:
                self.left -= 1
                return web.Response(status=response.status, text=response.text, headers=response.headers)
            return await super()._stream(request)

    async def run():
        exchange = Refusing().add(BTC, newest=100)
        async with served(exchange), producing(exchange, BTC) as running:
            await until(running.is_connected)
            await exchange.trade(BTC)
            await until(lambda: 101 in running.ids(BTC))

    asyncio.run(run())
