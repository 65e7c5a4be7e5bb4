"""Bad responses of REST to the live producer, which goes on with everything else.

Sources: HTML with status 200 during maintenance and an empty 202 from the firewall (reported for
several Binance clients), 451 by region, -4166 "Search window is restricted to recent 2 days only"
on USD-M, -1121 for a delisted symbol.

Right: the producer asks again with backoff, gives up only the ids that REST really refuses, and
logs each trouble once.
"""

from __future__ import annotations

import asyncio

import httpx
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from common.errors import ConfigurationError, ExchangeUnavailable
from producer.exchange.rest import ATTEMPTS, RestClient
from producer.exchange.rest_responses import retry_after_s
from tests.field.bad_responses import BAD_RESPONSES, HTML, respond_badly
from tests.field.in_process_exchange import (
    FastClock,
    InProcessExchange,
    no_override,
    producing,
    refusal,
    served,
    trading,
    until,
)

pytestmark = pytest.mark.usefixtures("small_limits")

BTC, ETH = "BTCUSDT", "ETHUSDT"
WARNING = "REST does not answer as it should; retrying with backoff"


@pytest.mark.parametrize("name", BAD_RESPONSES)
def test_a_bad_response_is_asked_for_again_and_costs_no_id(name):
    async def run():
        exchange = InProcessExchange().add(BTC, ETH, newest=100)
        async with served(exchange), producing(exchange, BTC, ETH, compare_every_s=60.0) as running:
            await until(running.is_connected)
            await exchange.trade(BTC)
            await until(lambda: running.ids(BTC) == [101])
            exchange.override = respond_badly(BTC, BAD_RESPONSES[name], ATTEMPTS + 2)
            exchange.is_silent = lambda stream: stream == "btcusdt@aggTrade"
            await exchange.trade(BTC, 20)  # these reach no connection
            exchange.is_silent = lambda stream: False
            await exchange.trade(BTC)
            async with trading(exchange, ETH):
                await until(lambda: running.ids(BTC) == [*range(101, 123)])
            assert len(running.ids(ETH)) > 0
            assert {state for *_, state, _ in running.gaps()} == {"filled"}
            assert exchange.requests["aggTrades"] > ATTEMPTS

    with capture_logs() as logs:
        asyncio.run(run())
    assert [entry["log_level"] for entry in logs if entry["event"] == WARNING] == ["warning"]
    assert [entry["event"] for entry in logs].count("REST answers again") == 1


class CuttingExchange(InProcessExchange):
    """An exchange whose first four requests for aggregate trades lose their connection."""

    left = 4

    async def _rest(self, request):
        if self.left and request.match_info["path"] == "aggTrades":
            self.left -= 1
            request.transport.abort()
            return web.Response()
        return await super()._rest(request)


def test_a_request_that_a_proxy_cuts_off_is_sent_again():
    exchange = CuttingExchange().add(BTC, newest=100)

    async def run():
        async with served(exchange), httpx.AsyncClient() as http:
            clock = FastClock()
            client = RestClient(http, f"http://{exchange.address}", "spot", clock=clock, sleep=clock.sleep)
            return await client.trades("aggTrade", BTC, 90, 5)

    assert [number for number, _ in asyncio.run(run())] == [90, 91, 92, 93, 94]
    assert exchange.left == 0


@pytest.mark.parametrize("address", ["http://name.invalid", "http://127.0.0.1:1", "https://{exchange}"])
def test_failures_of_dns_connections_and_tls_are_no_refusals(address):
    async def run():
        exchange = InProcessExchange().add(BTC, newest=100)
        async with served(exchange), httpx.AsyncClient(trust_env=False) as http:
            clock = FastClock()
            url = address.format(exchange=exchange.address)
            client = RestClient(http, url, "spot", clock=clock, sleep=clock.sleep)
            with pytest.raises(ExchangeUnavailable):
                await client.trades("aggTrade", BTC, 1)
            assert client.requests == ATTEMPTS

    asyncio.run(run())


@pytest.mark.parametrize(
    "address", ["", "api.binance.com", "ftp://x", "http://", "http://[::1", "http://127.0.0.1:99999"]
)
def test_an_invalid_address_is_a_configuration_error(address):
    with pytest.raises(ConfigurationError):
        RestClient(httpx.AsyncClient(), address, "spot", clock=lambda: 0.0)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [(None, 60), ("", 60), ("soon", 60), ("nan", 60), ("inf", 60), ("-5", 1), ("0", 1), ("1.5", 1.5), ("²", 60),
     ("99999999999", 3 * 86400), ("Thu, 01 Jan 1970 00:01:40 GMT", 90)],
)  # fmt: skip
def test_retry_after_is_taken_within_limits(header, seconds):
    assert retry_after_s(header, 10.0) == seconds


def test_an_hour_of_503_is_logged_once_and_costs_no_id():
    async def run():
        exchange = InProcessExchange().add(BTC, ETH, newest=100)

        async def down(path, query):
            return web.Response(status=503, text=HTML)

        async with served(exchange), producing(exchange, BTC, ETH) as running:
            await until(running.is_connected)
            clock = running.live.rest._clock
            async with trading(exchange, BTC, ETH):
                await until(lambda: running.ids(BTC) and running.ids(ETH))
                exchange.override = down
                exchange.is_silent = lambda stream: stream == "btcusdt@aggTrade"
                began, before = clock.now_s, exchange.requests.total()
                await until(lambda: clock.now_s - began > 3600)
                assert exchange.requests.total() - before < 3600  # far less than one request per second
                assert len(running.ids(ETH)) > 30  # the WebSocket went on
                exchange.override, exchange.is_silent = no_override, lambda stream: False
                await until(lambda: running.ids(BTC)[-1] == exchange.ids[BTC])
                await until(lambda: not running.live.writer.gaps.open_gaps())
            assert running.ids(BTC) == [*range(running.ids(BTC)[0], running.ids(BTC)[-1] + 1)]
            assert {state for *_, state, _ in running.gaps()} <= {"filled"}

    with capture_logs() as logs:
        asyncio.run(run())
    assert len([entry for entry in logs if entry["event"] == WARNING]) == 1
    assert len([entry for entry in logs if entry["log_level"] == "warning"]) < 8


async def two_days(path, query):
    """Refuse ids below 140, as USD-M refuses those older than two days."""
    if path == "aggTrades" and int(query.get("fromId", 10**9)) < 140:
        return refusal(-4166, "Search window is restricted to recent 2 days only.")
    return None


def test_ids_older_than_two_days_are_given_up_and_no_others():
    async def run():
        exchange = InProcessExchange(market="usdm").add(BTC, newest=100)
        async with served(exchange), producing(exchange, BTC, compare_every_s=60.0) as running:
            await until(running.is_connected)
            await exchange.trade(BTC)
            exchange.override = two_days
            exchange.is_silent = lambda stream: "aggTrade" in stream
            await exchange.trade(BTC, 99)
            exchange.is_silent = lambda stream: False
            await exchange.trade(BTC)
            await until(lambda: running.ids(BTC) == [101, *range(140, 202)])
            gaps = [gap[:4] for gap in running.gaps()]
            assert [gap for gap in gaps if gap[2] == "unfillable"] == [(102, 139, "unfillable", "refused: -4166")]
            assert [gap[:3] for gap in gaps if gap[2] != "unfillable"] == [(140, 200, "filled")]

    asyncio.run(run())


def test_ids_too_old_at_the_end_of_a_silent_stream_are_skipped():
    """The producer was down for a week, and the stream is silent when it is back."""

    async def run():
        exchange = InProcessExchange(market="usdm").add(BTC, newest=100)
        async with served(exchange), producing(exchange, BTC) as running:
            await until(running.is_connected)
            await exchange.trade(BTC)
            await until(lambda: running.ids(BTC) == [101])
            exchange.override, exchange.is_silent = two_days, lambda stream: "aggTrade" in stream
            await exchange.trade(BTC, 99)
            await until(lambda: running.ids(BTC) == [101, *range(140, 201)])

    asyncio.run(run())


def test_one_symbol_that_is_refused_stops_no_other():
    gone = "GONEUSDT"

    async def refuse(path, query):
        return refusal(-1121, "Invalid symbol.") if query.get("symbol") == gone else None

    async def run():
        exchange = InProcessExchange(override=refuse).add(BTC, ETH, gone, newest=100)
        exchange.refused = {"goneusdt@aggTrade", "goneusdt@ticker"}
        async with (
            served(exchange),
            producing(exchange, BTC, gone, ETH) as running,
            trading(exchange, BTC, ETH),
        ):
            await until(lambda: len(running.ids(BTC)) > 20 and len(running.ids(ETH)) > 20)
            await until(lambda: running.live.filler.refused == {("aggTrade", gone): -1121})
            assert running.live.shards.refused == exchange.refused
            assert running.live.silence.episodes == 0

    with capture_logs() as logs:
        asyncio.run(run())
    warnings = [entry["event"] for entry in logs if entry["log_level"] == "warning"]
    assert warnings.count("the exchange refuses streams; the others are subscribed") == 1
    assert warnings.count("REST refuses to compare the end of a stream") == 1


def test_a_polled_symbol_that_is_refused_stops_no_other():
    async def refuse(path, query):
        return refusal(-1121, "Invalid symbol.") if query.get("symbol") == "GONEUSDT" else None

    async def run():
        exchange = InProcessExchange(override=refuse).add(BTC, ETH, newest=100)
        async with served(exchange):
            ws_url = "ws://127.0.0.1:1"  # nothing listens there: trades are polled by REST
            async with producing(exchange, BTC, "GONEUSDT", ETH, ws_url=ws_url) as running:
                await until(running.live.shards.is_blocked)
                await exchange.trade(BTC, 5)
                await exchange.trade(ETH, 5)
                await until(lambda: len(running.ids(BTC)) == len(running.ids(ETH)) == 5)

    asyncio.run(run())


@pytest.mark.parametrize("name", ["HTML with status 200", "empty 202", "451 by region", "503", "null"])
def test_a_start_without_a_list_of_symbols_waits_for_it(name):
    async def run():
        exchange = InProcessExchange().add(BTC, newest=100)
        left = [ATTEMPTS + 3]

        async def override(path, query):
            if path != "exchangeInfo" or left[0] == 0:
                return None
            left[0] -= 1
            return BAD_RESPONSES[name]()

        exchange.override = override
        async with served(exchange), producing(exchange) as running:
            await until(lambda: exchange.sockets)
            await until(running.is_connected)
            await exchange.trade(BTC)
            await until(lambda: running.ids(BTC) == [101])

    asyncio.run(run())


def test_a_stop_while_there_is_no_list_of_symbols_ends_at_once():
    async def down(path, query):
        return web.Response(status=503)

    async def run():
        exchange = InProcessExchange(override=down)
        async with served(exchange), producing(exchange):
            await until(lambda: exchange.requests["exchangeInfo"] > 2)

    asyncio.run(asyncio.wait_for(run(), 30))


def test_a_bad_entry_of_exchange_info_hides_no_other():
    body = {
        "rateLimits": [
            None,
            {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 0, "limit": 9},
        ],
        "symbols": [{"symbol": 7}, None, {"symbol": "lower", "status": "TRADING"}, {"symbol": "X" * 99},
                    {"symbol": "币安人生USDT", "status": "TRADING"}, {"symbol": BTC, "status": "TRADING"}],
    }  # fmt: skip

    async def run():
        http = httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(200, json=body)))
        client = RestClient(http, "http://exchange.test", "spot", clock=lambda: 0.0)
        assert (await client.exchange_info()).trading() == ["币安人生USDT", BTC]
        assert client.budget.limit == 9

    asyncio.run(run())


def test_a_symbol_of_any_characters_is_asked_for_by_its_bytes():
    paths = []

    def respond(request: httpx.Request) -> httpx.Response:
        paths.append(request.url.raw_path)
        return httpx.Response(200, json=[])

    async def run():
        http = httpx.AsyncClient(transport=httpx.MockTransport(respond))
        client = RestClient(http, "http://exchange.test", "spot", clock=lambda: 0.0)
        await client.trades("aggTrade", "币安人生USDT", 5)

    asyncio.run(run())
    assert b"symbol=%E5%B8%81%E5%AE%89%E4%BA%BA%E7%94%9FUSDT&" in paths[0]
