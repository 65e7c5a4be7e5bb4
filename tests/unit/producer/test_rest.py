"""The REST client inside the exchange's limits, and the filling of gaps with it."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer.fill import Filler
from producer.rest import ATTEMPTS, SHARE, ExchangeRefused, RestClient, WeightBudget, jittered
from tests.unit.producer.fakes import ORIGIN, FakeOutbox, agg, intake_on, lines
from tickhouse.errors import ExchangeUnavailable


class Clock:
    """Time that only passes by sleeping."""

    def __init__(self):
        self.now_s, self.slept = 1_000_000.0, []

    def __call__(self):
        return self.now_s

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self.now_s += seconds


class Exchange:
    """Serves aggTrades of the ids it has, as REST does; `script` holds answers to give before that."""

    def __init__(self, ids=(), script=()):
        self.ids, self.script, self.asked = sorted(ids), list(script), []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        query = dict(request.url.params)
        self.asked.append(query)
        if self.script:
            return self.script.pop(0)
        start, limit = int(query.get("fromId", self.ids[-1])), int(query["limit"])
        return httpx.Response(200, json=[rest_row(number) for number in self.ids if number >= start][:limit])


def rest_row(number):
    return {"a": number, "p": "1.5", "q": "2", "f": number, "l": number, "T": 1_723_161_255_343, "m": True, "M": True}


def client_for(exchange, clock=None):
    clock = clock or Clock()
    http = httpx.AsyncClient(transport=httpx.MockTransport(exchange))
    return RestClient(http, "http://exchange.test", "spot", clock=clock, sleep=clock.sleep)


def limited(status, seconds):
    return httpx.Response(status, headers={"Retry-After": str(seconds)}, json={"code": -1003, "msg": "too many"})


def test_never_asks_by_id_and_time_at_once():
    exchange = Exchange(range(10))
    asyncio.run(client_for(exchange).trades("aggTrade", "BTCUSDT", 3, 5))
    assert exchange.asked == [{"symbol": "BTCUSDT", "limit": "5", "fromId": "3"}]


@pytest.mark.parametrize("status", [429, 418])
def test_limits_are_obeyed_for_as_long_as_told(status):
    exchange, clock = Exchange(range(10), [limited(status, 7), limited(status, 11)]), Clock()
    rows = asyncio.run(client_for(exchange, clock).trades("aggTrade", "BTCUSDT", 0))
    assert len(rows) == 10
    assert clock.slept == [7.0, 11.0]


def test_failures_are_tried_again_and_then_told():
    exchange = Exchange(range(10), [httpx.Response(503)] * ATTEMPTS)
    with pytest.raises(ExchangeUnavailable, match="503"):
        asyncio.run(client_for(exchange).trades("aggTrade", "BTCUSDT", 0))
    assert len(exchange.asked) == ATTEMPTS


def test_a_refusal_is_final_and_has_its_code():
    exchange = Exchange(range(10), [httpx.Response(400, json={"code": -1121, "msg": "Invalid symbol."})])
    with pytest.raises(ExchangeRefused, match="Invalid symbol") as caught:
        asyncio.run(client_for(exchange).trades("aggTrade", "NOPE", 0))
    assert (caught.value.code, len(exchange.asked)) == (-1121, 1)


def test_exchange_info_tells_symbols_and_limit():
    body = {
        "rateLimits": [
            {"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5, "limit": 61000},
            {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000},
        ],
        "symbols": [
            {"symbol": "BTCUSDT", "status": "TRADING"},
            {"symbol": "OLD", "status": "BREAK"},
            {"symbol": "BTCUSD_PERP", "contractStatus": "TRADING"},
        ],
    }
    client = client_for(lambda _: httpx.Response(200, json=body))
    assert asyncio.run(client.exchange_info()).trading() == ["BTCUSDT", "BTCUSD_PERP"]
    assert client.budget.limit == 6000


@given(st.lists(st.tuples(st.integers(1, 50), st.floats(0, 5)), max_size=60))
def test_budget_never_lets_more_than_its_share_go_in_a_minute(requests):
    budget, now_s, spent = WeightBudget(200), 0.0, {}
    for weight, pause in requests:
        now_s += pause
        while delay := budget.delay(weight, now_s):
            now_s += delay
        spent[now_s // 60] = spent.get(now_s // 60, 0) + weight
    assert all(used <= 200 * SHARE for used in spent.values())


def test_budget_takes_the_servers_count():
    budget = WeightBudget(100)
    budget.observe(79, 5.0)
    assert budget.delay(4, 5.0) == 55.0
    assert budget.delay(4, 60.0) == 0.0


@given(st.integers(0, 20))
def test_backoff_is_bounded(attempt):
    assert 0 <= jittered(attempt, cap_s=60) <= min(60, 2**attempt)


def fill(exchange, *ids):
    """Return (outbox, intake) after frames with `ids` came and every gap between them was worked on."""
    outbox = FakeOutbox()
    intake = intake_on(outbox)

    async def exclusive(work):
        work()

    async def run():
        filler = Filler(client_for(exchange), intake, exclusive, Clock().sleep)
        intake.feed(lines(*map(agg, ids)), ORIGIN)
        for gap in intake.gaps.take_fresh():
            filler.add(gap)
        task = asyncio.create_task(filler.run())
        while filler.pending:
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})

    asyncio.run(run())
    return outbox, intake


def states(intake):
    return sorted((gap.first_id, gap.last_id, gap.state, gap.filled_ids) for gap in intake.gaps.take_changed())


def test_a_gap_is_filled_page_by_page():
    exchange = Exchange(range(1, 3000))
    outbox, intake = fill(exchange, 1, 2500)
    assert sorted(outbox.ids()) == [*range(1, 2501)]
    assert states(intake) == [(2, 2499, "filled", 2498)]
    assert [query["fromId"] for query in exchange.asked] == ["2", "1002", "2002"]
    assert {record["source"] for record in outbox.trades()} == {"WEBSOCKET", "REST"}


def test_ids_that_are_too_old_are_unfillable_and_the_rest_is_filled():
    outbox, intake = fill(Exchange(range(50, 200)), 10, 100)
    assert sorted(outbox.ids()) == [10, *range(50, 101)]
    assert states(intake) == [(11, 49, "unfillable", 0), (50, 99, "filled", 50)]


def test_ids_left_out_between_neighbours_are_unfillable():
    outbox, intake = fill(Exchange([*range(1, 20), *range(25, 60)]), 1, 50)
    assert sorted(outbox.ids()) == [*range(1, 20), *range(25, 51)]
    assert [(first, last, state) for first, last, state, _ in states(intake)] == [
        (2, 19, "filled"), (20, 24, "unfillable"), (25, 49, "filled"),
    ]  # fmt: skip


def test_a_symbol_that_is_gone_is_unfillable():
    refusal = httpx.Response(400, json={"code": -1121, "msg": "Invalid symbol."})
    _, intake = fill(Exchange(range(5), [refusal]), 1, 9)
    [gap] = intake.gaps.take_changed()
    assert (gap.state, gap.reason) == ("unfillable", "refused: -1121")


def test_an_answer_that_comes_late_is_waited_for():
    outbox, _ = fill(Exchange(range(1, 10), [httpx.Response(200, json=[])] * 3), 1, 9)
    assert sorted(outbox.ids()) == [*range(1, 10)]


def test_what_the_stream_brought_meanwhile_is_no_repeat():
    outbox, intake = FakeOutbox(), None
    exchange = Exchange(range(1, 30))
    intake = intake_on(outbox)

    async def exclusive(work):
        intake.feed(lines(agg(12), agg(13)), ORIGIN)  # arrives between the request and its answer
        work()

    async def run():
        filler = Filler(client_for(exchange), intake, exclusive, Clock().sleep)
        intake.feed(lines(agg(10)), ORIGIN)
        await filler.check_tail(intake.ledger("BTCUSDT", "aggTrade"))
        for gap in intake.gaps.take_fresh():
            await filler.fill(gap)

    asyncio.run(run())
    assert sorted(set(outbox.ids())) == sorted(outbox.ids())
    assert intake.totals()["duplicates"] <= 2  # the made-up stream repeats itself, REST does not
    assert intake.gaps.open_gaps() == []


def test_a_bad_row_of_rest_is_a_dead_letter_and_seen():
    rows = [rest_row(2), {**rest_row(3), "p": "x"}, rest_row(4)]
    outbox, intake = fill(Exchange(range(5), [httpx.Response(200, content=json.dumps(rows))]), 1, 5)
    assert sorted(outbox.ids()) == [1, 2, 4, 5]
    [(key, _, headers)] = outbox.letters()
    assert (key, headers["reason"], headers["source"]) == (
        "binance:spot:BTCUSDT:aggTrade:3", "bad_number", "REST",
    )  # fmt: skip
    assert states(intake) == [(2, 4, "filled", 3)]
