"""The connections of one process: PostgreSQL, Redis, the cache, and threads for blocking reads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final, LiteralString, TypeVar

from psycopg import AsyncCursor
from psycopg_pool import AsyncConnectionPool
from redis.asyncio import BlockingConnectionPool, Redis

from api.cache import AnswerCache
from api.metrics import ApiMetrics
from api.problems import ApiProblem
from common.settings import Settings

T = TypeVar("T")
# Connections of the read API; PostgreSQL takes 80 in all.
MOST_CONNECTIONS: Final = 8
CONNECTION_WAIT_S: Final = 3.0
STATEMENT_MS: Final = 5000
# Reads of the lake, Kafka and Neo4j: so many at a time, and so many that wait for a thread.
THREADS: Final = 4
MOST_WAITING: Final = 16
SLOWEST_S: Final = 60.0
# An answer of the cache must come sooner than a computed one.
CACHE_S: Final = 0.5
CACHE_CONNECTIONS: Final = 64
# The reader of the live stream waits for events on its connection.
LIVE_S: Final = 15.0


class BlockingReads:
    """Runs blocking reads in a few threads; when too many wait, it refuses the next one."""

    def __init__(self, threads: int = THREADS, most_waiting: int = MOST_WAITING) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="read")
        self._free = threads + most_waiting

    async def run(self, read: Callable[[], T], most_s: float = SLOWEST_S) -> T:
        """Return the result of a read.

        Raises:
            Problem: Too many reads wait.
            TimeoutError: This one took too long; it ends in its thread later.
        """
        if not self._free:
            raise ApiProblem(503, "busy", "Too many slow reads wait already.", "the same later", {"Retry-After": "1"})
        self._free -= 1
        future = asyncio.get_running_loop().run_in_executor(self._pool, read)
        future.add_done_callback(self._release)
        async with asyncio.timeout(most_s):
            return await asyncio.shield(future)

    def _release(self, future: asyncio.Future[Any]) -> None:
        self._free += 1
        if not future.cancelled():
            future.exception()  # who waited may be gone; without this, asyncio reports it as unseen

    def close(self) -> None:
        """Start nothing more; a read that runs ends by itself."""
        self._pool.shutdown(wait=False, cancel_futures=True)


@dataclass
class Stores:
    """Everything that routes read from.

    Attributes:
        redis: For short commands: the cache and latest trades.
        live_redis: For the live stream, whose reader waits on its connection.
    """

    settings: Settings
    database: AsyncConnectionPool[Any]
    redis: Redis
    live_redis: Redis
    cache: AnswerCache
    reads: BlockingReads = field(default_factory=BlockingReads)

    async def rows(self, query: LiteralString, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
        """Return the rows of a query of PostgreSQL.

        Raises:
            psycopg.Error: PostgreSQL does not answer, or not in time.
        """
        async with self.database.connection(timeout=CONNECTION_WAIT_S) as connection:
            cursor: AsyncCursor[tuple[Any, ...]] = await connection.execute(query, parameters)
            return await cursor.fetchall()

    async def open(self) -> None:
        """Start to connect; a store that is down does not stop the server from starting."""
        await self.database.open(wait=False)

    async def close(self) -> None:
        """Close all connections."""
        self.reads.close()
        await self.database.close()
        await self.redis.aclose()
        await self.live_redis.aclose()


def connect(settings: Settings, metrics: ApiMetrics) -> Stores:
    """Return the stores of a process; nothing is connected yet."""
    limits = f"-c statement_timeout={STATEMENT_MS} -c default_transaction_read_only=on"
    pool: AsyncConnectionPool[Any] = AsyncConnectionPool(
        settings.database_dsn("api"),
        kwargs={"options": limits, "connect_timeout": 5, "autocommit": True, "application_name": "tickhouse-api"},
        min_size=1,
        max_size=MOST_CONNECTIONS,
        max_waiting=256,
        reconnect_timeout=5,
        open=False,
    )
    fast = _redis(settings, CACHE_S, CACHE_CONNECTIONS)
    return Stores(settings, pool, fast, _redis(settings, LIVE_S, 16), AnswerCache(fast, metrics))


def _redis(settings: Settings, timeout_s: float, connections: int) -> Redis:
    # Above the most connections, a command waits for one instead of failing.
    pool = BlockingConnectionPool.from_url(
        settings.redis_api_dsn(),
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        max_connections=connections,
        timeout=timeout_s,
    )
    return Redis.from_pool(pool)
