"""Bad responses of REST to a backfill, which asks again and records refused ids as gaps."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import httpx
import pytest
from aiohttp import web

from common.errors import ExchangeUnavailable
from producer.backfill import BackfilledRange, backfill, id_range
from producer.exchange.rest import ATTEMPTS, RestClient
from producer.exchange.rest_responses import ExchangeRefused
from producer.ledger.gaps import GapBook
from producer.ledger.stream_ledger import StreamLedger
from producer.writer.open_writer import Writer
from tests.field.bad_responses import BAD_RESPONSES, respond_badly
from tests.field.in_process_exchange import FastClock, InProcessExchange, NoReader, NoStore, refusal, served
from tests.unit.producer.fakes import FakeOutbox, intake_on

pytestmark = pytest.mark.usefixtures("small_limits")

BTC = "BTCUSDT"


@dataclass(frozen=True)
class BackfillResult:
    """What a backfill returned and sent; its gaps as (first id, last id, state, reason)."""

    returned: BackfilledRange
    ids: list[int]
    gaps: list[tuple[int, int, str, str]]


def run_backfill(exchange: InProcessExchange, low: int, high: int, **options) -> BackfillResult:
    """Backfill the ids [low, high] of an exchange."""
    outbox = FakeOutbox()
    intake = intake_on(outbox, market=exchange.market, gaps=False, writer="backfill")
    writer = Writer(intake, NoStore(), outbox, GapBook(), NoReader())

    async def run():
        async with served(exchange), httpx.AsyncClient() as http:
            clock = FastClock()
            rest = RestClient(http, f"http://{exchange.address}", exchange.market, clock=clock, sleep=clock.sleep)
            ids = await id_range(rest, BTC, from_id=low, to_id=high, from_us=None, to_us=None)
            return await backfill(writer, rest, BTC, ids, **options)

    returned = asyncio.run(run())
    gaps = sorted((gap.first_id, gap.last_id, gap.state, gap.reason) for gap in writer.gaps.changed.values())
    return BackfillResult(returned, sorted(outbox.ids()), gaps)


@pytest.mark.parametrize(
    "name", ["HTML with status 200", "empty 202", "451 by region", "a redirect", "a body that is cut"]
)
def test_backfill_asks_again_and_fetches_all(name):
    exchange = InProcessExchange(override=respond_badly(BTC, BAD_RESPONSES[name], ATTEMPTS + 1)).add(BTC, newest=3000)

    result = run_backfill(exchange, 500, 2800)

    assert result.ids == [*range(500, 2801)]
    assert result.returned.unserved == []
    assert result.returned.is_whole
    assert result.gaps == []


def test_backfill_tells_refused_ids_as_gaps_and_fetches_the_others():
    async def two_days(path, query):
        if path == "aggTrades" and int(query.get("fromId", 10**9)) < 1234:
            return refusal(-4166, "Search window is restricted to recent 2 days only.")
        return None

    exchange = InProcessExchange(market="usdm", override=two_days).add(BTC, newest=3000)

    result = run_backfill(exchange, 1000, 2000)

    assert result.ids == [*range(1234, 2001)]
    assert result.returned.unserved == [(1000, 1233)]
    assert result.gaps == [(1000, 1233, "unfillable", "refused: -4166")]


def test_backfill_asks_twice_for_ids_that_a_page_leaves_out():
    pages = []

    async def wrong_first_page(path, query):
        pages.append(query)
        if len(pages) > 1:
            return None
        rows = [{"a": n, "p": "1", "q": "1", "f": n, "l": n, "T": 1723161255000, "m": True} for n in range(2900, 3000)]
        return web.json_response(rows)

    exchange = InProcessExchange(override=wrong_first_page).add(BTC, newest=3000)

    result = run_backfill(exchange, 2000, 2999)

    assert result.ids == [*range(2000, 3000)]
    assert result.gaps == []


def test_backfill_of_an_exchange_that_serves_nothing_is_an_error():
    async def empty(path, query):
        return web.json_response([]) if path == "aggTrades" else None

    exchange = InProcessExchange(override=empty).add(BTC, newest=3000)

    with pytest.raises(ExchangeUnavailable, match="serves nothing"):
        run_backfill(exchange, 5, 10, patience_s=0.05)


async def refuse(path, query):
    return refusal(-1121, "Invalid symbol.")


def test_ids_of_a_refused_symbol_are_unfillable():
    exchange = InProcessExchange(override=refuse).add(BTC, newest=3000)

    result = run_backfill(exchange, 5, 10)

    assert result.gaps == [(5, 10, "unfillable", "refused: -1121")]


def test_the_range_of_a_refused_symbol_is_an_error_with_the_exchanges_message():
    exchange = InProcessExchange(override=refuse).add(BTC, newest=3000)

    async def run():
        async with served(exchange), httpx.AsyncClient() as http:
            rest = RestClient(http, f"http://{exchange.address}", "spot", clock=lambda: 0.0)
            await id_range(rest, BTC, from_id=None, to_id=None, from_us=0, to_us=None)

    with pytest.raises(ExchangeRefused, match="Invalid symbol"):
        asyncio.run(run())


def test_a_gap_that_is_known_to_be_unfillable_is_not_opened_again():
    book, ledger = GapBook(), StreamLedger("spot", BTC, "aggTrade", "backfill")
    lost = {"market": "spot", "symbol": BTC, "stream": "aggTrade", "first_id": 5, "last_id": 9, "state": "unfillable",
            "detected_at_us": 1}  # fmt: skip

    book.restore([lost], "spot")

    assert [(gap.first_id, gap.last_id) for gap in book.recorded(ledger)] == [(5, 9)]
