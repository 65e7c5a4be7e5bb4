"""Single flight, and answers while Redis does not answer. The rest is in tests/integration/api."""

from __future__ import annotations

import asyncio
import threading
import time
from decimal import Decimal

import pytest
from redis.asyncio import Redis

from api.answers import decimal_text
from api.cache import AnswerCache, Cacheable, CachedBody, RecentAnswers, live
from api.metrics import ApiMetrics
from api.problems import ApiProblem
from api.stores import BlockingReads

KEY = Cacheable("key", 1)


def cache() -> AnswerCache:
    return AnswerCache(Redis(host="127.0.0.1", port=1), ApiMetrics())


def test_many_requests_share_one_computation_also_without_redis() -> None:
    async def ask() -> None:
        answers, calls, go = cache(), [], asyncio.Event()

        async def compute() -> bytes:
            calls.append(1)
            await go.wait()
            return b"{}"

        waiting = [asyncio.create_task(answers.get(KEY, compute)) for _ in range(50)]
        gone = waiting.pop()
        await asyncio.sleep(0.05)
        gone.cancel()
        go.set()
        found = await asyncio.gather(*waiting)
        assert {one.result for one in found} == {"bypass"}
        assert len(calls) == 1
        await answers.get(KEY, compute)
        assert len(calls) == 2

    asyncio.run(ask())


def test_an_error_reaches_all_who_wait_and_is_not_kept() -> None:
    async def ask() -> None:
        answers = cache()

        async def fail() -> bytes:
            raise ApiProblem(503, "store-down", "down")

        found = await asyncio.gather(*(answers.get(KEY, fail) for _ in range(3)), return_exceptions=True)
        assert [type(one) for one in found] == [ApiProblem] * 3

        async def works() -> bytes:
            return b"1"

        assert (await answers.get(KEY, works)).body == b"1"

    asyncio.run(ask())


def test_too_many_slow_reads_are_refused() -> None:
    async def ask() -> None:
        reads, go = BlockingReads(threads=1, most_waiting=1), threading.Event()
        first = [asyncio.create_task(reads.run(go.wait)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(ApiProblem, match="slow reads"):
            await reads.run(go.wait)
        go.set()
        assert await asyncio.gather(*first) == [True, True]
        assert await reads.run(go.wait)
        with pytest.raises(TimeoutError):
            await reads.run(lambda: threading.Event().wait(0.3), most_s=0.01)
        reads.close()

    asyncio.run(ask())


def test_answers_in_memory_end_and_make_room() -> None:
    recent = RecentAnswers(most_bytes=10)
    recent.put("a", CachedBody(b"1234", "t", "hit", 0.0), 60)
    recent.put("b", CachedBody(b"1234", "t", "hit", 0.0), -1)
    assert recent.get("a") is not None
    assert recent.get("b") is None, "its time is over"
    recent.put("a", CachedBody(b"12345678", "t", "hit", 0.0), 60)
    assert recent.get("a") is not None
    recent.put("c", CachedBody(b"123", "t", "hit", 0.0), 60)
    assert recent.get("a") is None
    assert recent.get("c") is not None
    recent.put("d", CachedBody(b"12345678901", "t", "hit", 0.0), 60)
    assert recent.get("d") is None, "it is larger than all of the memory"


def test_a_live_answer_has_a_key_per_bucket_and_not_all_begin_at_once() -> None:
    starts = {}
    for question in ("a", "b"):
        keys = [live(question, 5.0, now / 10).key for now in range(101)]
        assert len(set(keys)) == 3, "two whole buckets and a part"
        starts[question] = keys.count(keys[0])
        assert live(question, 5.0, 7.0).earlier == live(question, 5.0, 2.0).key
    assert starts["a"] != starts["b"]


def test_the_answer_before_is_given_while_the_next_is_computed_but_not_for_long() -> None:
    async def ask() -> None:
        answers, go = cache(), asyncio.Event()
        before = CachedBody(b"before", "t", "hit", time.time())
        next_one = Cacheable("key:2", 2, earlier="key:1", earlier_age_s=0.2)

        async def compute() -> bytes:
            await go.wait()
            return b"next"

        answers._recent.put("key:1", before, 60)
        assert {(await answers.get(next_one, compute)).body for _ in range(3)} == {b"before"}
        await asyncio.sleep(0.2)
        waiting = asyncio.create_task(answers.get(next_one, compute))
        await asyncio.sleep(0.05)
        assert not waiting.done(), "it is too old now"
        go.set()
        assert (await waiting).body == b"next"

    asyncio.run(ask())


def test_decimals() -> None:
    assert [decimal_text(value) for value in (None, Decimal("1E+3"), Decimal("1E-10"))] == [
        None,
        "1000",
        "0.0000000001",
    ]
