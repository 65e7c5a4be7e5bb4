"""The REST client stays within the limits of the exchange, and retries what may be retried."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import ExchangeUnavailable
from producer.exchange.rest import ATTEMPTS, SHARE, WeightBudget, jittered
from producer.exchange.rest_responses import ExchangeRefused
from tests.unit.producer.fake_rest import Clock, Exchange, client_for


def limited(status, seconds):
    return httpx.Response(status, headers={"Retry-After": str(seconds)}, json={"code": -1003, "msg": "too many"})


def test_a_request_has_an_id_or_a_time_never_both():
    exchange = Exchange(range(10))
    asyncio.run(client_for(exchange).trades("aggTrade", "BTCUSDT", 3, 5))
    assert exchange.asked == [{"symbol": "BTCUSDT", "limit": "5", "fromId": "3"}]


@pytest.mark.parametrize("status", [429, 418])
def test_a_limited_client_waits_as_long_as_retry_after_says(status):
    exchange, clock = Exchange(range(10), [limited(status, 7), limited(status, 11)]), Clock()
    rows = asyncio.run(client_for(exchange, clock).trades("aggTrade", "BTCUSDT", 0))
    assert len(rows) == 10
    assert clock.slept == [7.0, 11.0]


def test_failures_are_retried_and_then_raised():
    exchange = Exchange(range(10), [httpx.Response(503)] * ATTEMPTS)
    with pytest.raises(ExchangeUnavailable, match="503"):
        asyncio.run(client_for(exchange).trades("aggTrade", "BTCUSDT", 0))
    assert len(exchange.asked) == ATTEMPTS


def test_a_refusal_is_final_and_has_its_code():
    exchange = Exchange(range(10), [httpx.Response(400, json={"code": -1121, "msg": "Invalid symbol."})])
    with pytest.raises(ExchangeRefused, match="Invalid symbol") as caught:
        asyncio.run(client_for(exchange).trades("aggTrade", "NOPE", 0))
    assert (caught.value.code, len(exchange.asked)) == (-1121, 1)


def test_exchange_info_holds_symbols_and_limit():
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
def test_the_budget_never_exceeds_its_share_of_a_minute(requests):
    budget, now_s, spent = WeightBudget(200), 0.0, {}
    for weight, pause in requests:
        now_s += pause
        while delay := budget.delay(weight, now_s):
            now_s += delay
        spent[now_s // 60] = spent.get(now_s // 60, 0) + weight
    assert all(used <= 200 * SHARE for used in spent.values())


def test_the_budget_uses_the_count_of_the_server():
    budget = WeightBudget(100)
    budget.observe(79, 5.0)
    assert budget.delay(4, 5.0) == 55.0
    assert budget.delay(4, 60.0) == 0.0


@given(st.integers(0, 20))
def test_backoff_is_bounded(attempt):
    assert 0 <= jittered(attempt, cap_s=60) <= min(60, 2**attempt)
