"""Cache-aside in Redis: hits, ages, ETags, one computation for many, and answers without Redis."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import redis

from tests.eventually import eventually
from tests.integration.api.conftest import Api, own_process

pytestmark = pytest.mark.integration
OF_A_DAY = {"market": "spot", "symbol": "BTCUSDT", "interval": "1m", "from_": "2024-08-08T12:00:00Z", "limit": 500}


def test_an_answer_of_a_commit_is_computed_once(api: Api, lake_commit: str) -> None:
    with redis.Redis.from_url(api.settings.redis_dsn()) as client:
        for key in client.scan_iter(f"tickhouse:api:*{lake_commit}*"):
            client.delete(key)
    to = f"2024-08-09T00:00:00.{time.time_ns() % 10**6:06d}Z"  # nobody has asked for this before
    first = api.get("/v1/candles", **OF_A_DAY, to=to, ref=lake_commit)
    second = api.get("/v1/candles", **OF_A_DAY, to=to, ref=lake_commit)

    assert (first.headers["X-Cache"], second.headers["X-Cache"]) == ("miss", "hit")
    assert second.content == first.content
    assert int(second.headers["Age"]) >= 0
    with redis.Redis.from_url(api.settings.redis_dsn()) as client:
        keys = [key for key in client.scan_iter("tickhouse:api:candles:*") if lake_commit.encode() in key]
        assert len(keys) == 1
        assert 0 < client.ttl(keys[0]) <= 600


def test_an_unchanged_answer_is_not_sent_again(api: Api) -> None:
    first = api.get("/v1/candles", market="spot", symbol="APIUSDT", from_="2024-08-10", limit=10)
    again = api.client.get(
        "/v1/candles",
        params={"market": "spot", "symbol": "APIUSDT", "from": "2024-08-10", "limit": 10},
        headers={"If-None-Match": first.headers["ETag"]},
    )
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    changed = api.get("/v1/candles", market="spot", symbol="APIUSDT", from_="2024-08-10", limit=11)
    assert changed.headers["ETag"] != first.headers["ETag"]


def test_many_at_once_share_the_computation(api: Api) -> None:
    def asked(_: int) -> httpx.Response:
        return api.get("/v1/movers", market="spot", window="7d", limit=77)

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(asked, range(32)))
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.headers["X-Cache"] for answer in answers} <= {"hit", "miss"}
    assert len({answer.content for answer in answers}) == 1


def test_a_process_takes_what_another_has_computed(api: Api, lake_commit: str) -> None:
    to = f"2024-08-09T00:00:00.{time.time_ns() % 10**6:06d}Z"
    first = api.get("/v1/candles", **OF_A_DAY, to=to, ref=lake_commit)
    with own_process() as (other, _):
        second = other.get("/v1/candles", **OF_A_DAY, to=to, ref=lake_commit)
    assert (first.headers["X-Cache"], second.headers["X-Cache"]) == ("miss", "hit")
    assert second.content == first.content


def test_without_redis_it_answers_from_the_other_stores(api: Api) -> None:
    with own_process(REDIS_URL="redis://127.0.0.1:1/0") as (alone, _):
        answer = alone.get("/v1/candles", market="spot", symbol="APIUSDT", from_="2024-08-10", limit=10)
        assert answer.headers["X-Cache"] == "bypass"
        assert (
            answer.json()["data"]
            == api.get("/v1/candles", market="spot", symbol="APIUSDT", from_="2024-08-10", limit=10).json()["data"]
        )
        (row,) = alone.data("/v1/latest", market="spot", symbol="APIUSDT")
        (with_redis,) = api.data("/v1/latest", market="spot", symbol="APIUSDT")
        assert (row["price"], row["trade_time"]) == (with_redis["price"], None)
        assert alone.get("/v1/live").status_code == 503


def test_without_postgres_it_says_so_and_comes_back(api: Api) -> None:
    with own_process(DATABASE_URL="postgresql://127.0.0.1:1/tickhouse") as (alone, _):
        answer = alone.get("/v1/candles", market="spot", symbol="APIUSDT")
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
        assert answer.json()["type"] == "urn:tickhouse:problem:store-down"
        eventually(lambda: alone.get("/v1/live", kinds="x").status_code == 404)
