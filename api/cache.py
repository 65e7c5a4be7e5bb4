"""Answers in Redis, cache-aside: read it there, else compute it once and put it there.

A key names everything that the answer depends on: the parameters, and the commit of the lake or a
short bucket of time. So nothing has to be invalidated; entries end by their time to live. Requests
for the same key that arrive while it is computed wait for the one computation (single flight). When
a bucket has just begun, they get the answer of the bucket before instead, and do not wait. Each
process keeps the answers of the last moment in memory as well, because a request to Redis costs it
more than all else in answering a cached request.

The API answers without Redis too. And Redis is first of all a store here, which refuses writes when
it is full; so nothing is cached once half of its memory is in use.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import struct
import time
import zlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

import redis.asyncio
import redis.exceptions
import structlog

from api.metrics import ApiMetrics

PREFIX: Final = "tickhouse:api:"
# A larger answer is computed again each time.
MOST_BYTES: Final = 1 << 20
# Of the answers in the memory of one process.
MOST_MEMORY_BYTES: Final = 32 << 20
# Redis is not asked for this long after it failed, so that an outage costs one timeout per pause.
PAUSE_S: Final = 1.0
# Share of Redis's memory above which nothing is added, and how often the use is read.
MOST_SHARE: Final = 0.5
MEMORY_EVERY_S: Final = 1.0
# While an answer is computed, that of the bucket before is given; it may be this much older.
STALE_S: Final = 1.0
_STORED_AT = struct.Struct(">d")
log = structlog.get_logger("api.cache")

Result = Literal["hit", "miss", "bypass"]


@dataclass(frozen=True, slots=True)
class CachedBody:
    """The body of an answer, its ETag, what the cache did, and when the body was computed."""

    body: bytes
    tag: str
    result: Result
    computed_at: float

    @property
    def age_s(self) -> float:
        """Return the age in seconds."""
        return max(0.0, time.time() - self.computed_at)


@dataclass(frozen=True, slots=True)
class Cacheable:
    """How an answer may be reused.

    Attributes:
        key: Names the answer with all that it depends on.
        ttl_s: For how long Redis keeps it.
        headers: Further headers, such as the commit.
        earlier: Key of the same answer in the bucket of time before; empty when there is none.
        earlier_age_s: How old that answer may be.
    """

    key: str
    ttl_s: float
    headers: Mapping[str, str] = field(default_factory=dict)
    earlier: str = ""
    earlier_age_s: float = 0.0


def live(question: str, length_s: float, now_s: float) -> Cacheable:
    """Return how an answer about the present may be reused: within a bucket of time (pure).

    The buckets of two questions begin at different moments, so that not all are computed at once.

    Args:
        question: Names the answer with its parameters.
        length_s: Length of the buckets.
        now_s: The time, in seconds since 1970.
    """
    bucket = int(now_s / length_s + zlib.crc32(question.encode()) / 2**32)
    return Cacheable(
        f"{question}:{bucket}", length_s * 2, earlier=f"{question}:{bucket - 1}", earlier_age_s=length_s + STALE_S
    )


def tag_of(body: bytes) -> str:
    """Return the ETag of a body (pure)."""
    return f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'


class RecentAnswers:
    """The last answers, in memory, until their time is over or the memory is full."""

    def __init__(self, most_bytes: int = MOST_MEMORY_BYTES) -> None:
        self._answers: OrderedDict[str, tuple[float, CachedBody]] = OrderedDict()
        self._left = most_bytes

    def get(self, key: str) -> CachedBody | None:
        """Return an answer; None when it is not there, or too old."""
        found = self._answers.get(key)
        return found[1] if found is not None and found[0] > time.monotonic() else None

    def put(self, key: str, answer: CachedBody, ttl_s: float) -> None:
        """Keep an answer; the oldest ones go to make room."""
        self._remove(key)
        self._answers[key] = (time.monotonic() + ttl_s, answer)
        self._left -= len(answer.body)
        while self._left < 0:
            self._remove(next(iter(self._answers)))

    def _remove(self, key: str) -> None:
        found = self._answers.pop(key, None)
        if found is not None:
            self._left += len(found[1].body)


class AnswerCache:
    """Cache of whole answers; one per process, all processes share the entries."""

    def __init__(self, client: redis.asyncio.Redis, metrics: ApiMetrics) -> None:
        self._client: Any = client  # the stubs of redis-py mix sync and async answers
        self._metrics = metrics
        self._flights: dict[str, asyncio.Future[CachedBody]] = {}
        self._paused_until = 0.0
        self._has_room = (0.0, False)
        self._recent = RecentAnswers()

    async def get(self, how: Cacheable, compute: Callable[[], Awaitable[bytes]]) -> CachedBody:
        """Return the answer under a key, computing it when it is not there.

        Args:
            how: Names the answer, and says how long it may be reused.
            compute: Computes it; its error is raised to all who wait for this key.
        """
        recent = self._recent.get(how.key)
        if recent is not None:
            self._metrics.cache("hit")
            return recent
        flight = self._flights.get(how.key) or self._start(how, compute)
        earlier = self._recent.get(how.earlier)
        if earlier is not None and earlier.age_s < how.earlier_age_s:
            self._metrics.cache("hit")
            return earlier
        # A client that goes away cancels its own wait and not the computation of the others.
        answer = await asyncio.shield(flight)
        self._metrics.cache(answer.result)
        return answer

    def _start(self, how: Cacheable, compute: Callable[[], Awaitable[bytes]]) -> asyncio.Future[CachedBody]:
        flight = asyncio.ensure_future(self._load(how.key, how.ttl_s, compute))
        self._flights[how.key] = flight
        flight.add_done_callback(functools.partial(self._landed, how.key))
        return flight

    def _landed(self, key: str, flight: asyncio.Future[CachedBody]) -> None:
        self._flights.pop(key, None)
        if not flight.cancelled():
            flight.exception()  # perhaps nobody waited; without this, asyncio reports it as unseen

    async def _load(self, key: str, ttl_s: float, compute: Callable[[], Awaitable[bytes]]) -> CachedBody:
        if time.monotonic() < self._paused_until:
            return await self._computed(compute, "bypass")
        try:
            stored = await self._client.get(PREFIX + key)
        except (TimeoutError, redis.exceptions.RedisError, OSError) as error:
            self._pause(error)
            return await self._computed(compute, "bypass")
        if stored is None:
            answer = await self._computed(compute, "miss")
            await self._put(key, ttl_s, answer)
        else:
            body = stored[_STORED_AT.size :]
            answer = CachedBody(body, tag_of(body), "hit", _STORED_AT.unpack_from(stored)[0])
        self._recent.put(key, replace(answer, result="hit"), answer.computed_at + ttl_s - time.time())
        return answer

    @staticmethod
    async def _computed(compute: Callable[[], Awaitable[bytes]], result: Result) -> CachedBody:
        body = await compute()
        return CachedBody(body, tag_of(body), result, time.time())

    async def _put(self, key: str, ttl_s: float, answer: CachedBody) -> None:
        try:
            if len(answer.body) <= MOST_BYTES and await self._is_room():
                value = _STORED_AT.pack(answer.computed_at) + answer.body
                await self._client.set(PREFIX + key, value, px=int(ttl_s * 1000))
        except (TimeoutError, redis.exceptions.RedisError, OSError) as error:
            self._pause(error)

    async def _is_room(self) -> bool:
        read_at, has_room = self._has_room
        if time.monotonic() - read_at > MEMORY_EVERY_S:
            memory = await self._client.info("memory")
            most = memory["maxmemory"] or memory["total_system_memory"]
            has_room = memory["used_memory"] < most * MOST_SHARE
            self._has_room = (time.monotonic(), has_room)
        return has_room

    def _pause(self, error: Exception) -> None:
        if time.monotonic() >= self._paused_until:
            log.warning("cache_off", error=repr(error), pause_s=PAUSE_S)
        self._paused_until = time.monotonic() + PAUSE_S
