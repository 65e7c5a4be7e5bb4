"""Pages of a browser may not use our servers.

The exchange, the lakeFS stand-in and the API have this test beside their others.
"""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import ClientSession, web

from common.settings import Settings
from common.web_guard import refuse_foreign_pages
from common.web_origin import is_foreign, is_rebound
from tickhouse.lake import merge_gate
from tickhouse.metrics import __main__ as metrics
from tickhouse.metrics.readers import StoreReaders


@pytest.mark.parametrize(
    "host", ["127.0.0.1:80", "localhost", "[::1]:21050", "10.0.0.7", "exchange:21070", "LOCALHOST:1"]
)
def test_hosts_of_our_servers(host: str) -> None:
    assert not is_rebound(host)


@pytest.mark.parametrize(
    "host",
    ["", "evil.example", "evil.example:21050", "localhost.evil.example", "127.0.0.1.evil.example", "evil.", "[", ":80"],
)
def test_hosts_of_pages_whose_name_was_rebound(host: str) -> None:
    assert is_rebound(host)


@pytest.mark.parametrize(
    ("headers", "wanted"),
    [
        ({}, False),
        ({"origin": "http://127.0.0.1:1"}, False),
        ({"origin": "http://127.0.0.1:2"}, True),
        ({"origin": "null"}, True),
        ({"origin": "file://"}, True),
        ({"origin": "http://["}, True),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}, True),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, False),
        ({"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"}, False),
    ],
)
def test_requests_of_other_pages(headers: dict[str, str], wanted: bool) -> None:
    assert is_foreign(headers, "127.0.0.1:1") is wanted


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "gate:21058"}, 200),
        ({"Host": "evil.example"}, 421),
        ({"Origin": "http://evil.example"}, 403),
    ],
)
def test_the_gate_answers_no_foreign_page(headers: dict[str, str], status: int) -> None:
    async def ask() -> int:
        runner = web.AppRunner(merge_gate.make_app(Settings()))
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            async with ClientSession() as client, client.get(f"{address(runner)}/health", headers=headers) as answer:
                return answer.status
        finally:
            await runner.cleanup()

    assert asyncio.run(ask()) == status


def address(runner: web.AppRunner) -> str:
    host, port = runner.addresses[0][:2]
    return f"http://{host}:{port}"


def test_the_metrics_of_the_stores_have_the_filter_too() -> None:
    assert refuse_foreign_pages in metrics.make_app(StoreReaders(dict, {})).middlewares
