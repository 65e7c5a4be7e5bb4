"""Keep every stream subscribed.

Streams are spread over connections, which are replaced before they end if possible.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable

import structlog
from websockets.exceptions import InvalidStatus, WebSocketException

from common.errors import ExchangeUnavailable
from producer.exchange.connection import MAX_STREAMS, EndReason, StreamConnection
from producer.exchange.frame_queue import FrameQueue
from producer.exchange.rest import jittered
from producer.exchange.rest_responses import LOG_AGAIN_S
from producer.exchange.routes import StreamAddresses

log = structlog.get_logger(__name__)

# A connection that ended sooner than this counts as a failure, and the next one waits longer.
SHORT_LIFE_S = 10.0
# After this many failures in a row the WebSocket counts as blocked, and trades are polled from
# REST.
BLOCKED_AFTER = 3
# With full jitter a connection makes 30 attempts in 5 minutes; an IP address is allowed 300.
RECONNECT_CAP_S = 20.0
# A connection with a silent stream is replaced at most this often; meanwhile REST fills.
RENEW_EVERY_S = 900.0
# A log line names at most this many streams; the metrics have them all.
NAMED_IN_LOG = 10


class Shard:
    """A share of the streams, and the connection that carries it now."""

    def __init__(self, number: int, url: str, streams: list[str]) -> None:
        self.number, self.url, self.streams = number, url, streams
        self.address = url  # what it connects to: `url`, or the base when that route does not exist
        self.connection: StreamConnection | None = None
        self.failures = 0
        self.reconnects = 0
        self.refused: set[str] = set()  # streams whose subscription the exchange refuses
        self.renewed_at = -RENEW_EVERY_S
        self._last_logged: tuple[str, float] = ("", 0.0)

    @property
    def name(self) -> str:
        """Return the name of its connection in logs and dead letters."""
        return f"{self.address}/stream#{self.number}"

    def is_news(self, problem: str) -> bool:
        """Return whether to log a failure: it is new, or was last logged long ago."""
        former, logged_at = self._last_logged
        now = time.monotonic()
        if problem == former and now - logged_at < LOG_AGAIN_S:
            return False
        self._last_logged = problem, now
        return True

    def forget_failures(self) -> None:
        """Log the next failure in any case: there is a connection now."""
        self._last_logged = ("", 0.0)


class Shards:
    """All connections of one market.

    Args:
        addresses: Where each stream is served.
        frame_queue: Receives the frames.
        clock: Returns the time in µs.
        on_connected: Called with the streams of a shard after each new subscription, and whether it
            is the first one.
        limits: `lifetime_s`, `silent_s` and `stuck_s` of `StreamConnection`.
    """

    def __init__(
        self,
        addresses: StreamAddresses,
        frame_queue: FrameQueue,
        *,
        clock: Callable[[], int],
        on_connected: Callable[[list[str], bool], None],
        limits: dict[str, float] | None = None,
    ) -> None:
        self._addresses, self._frame_queue, self._clock, self._on_connected = (
            addresses,
            frame_queue,
            clock,
            on_connected,
        )
        self._limits = limits or {}
        self.shards: list[Shard] = []
        self._tasks: asyncio.TaskGroup | None = None

    def is_blocked(self) -> bool:
        """Return whether there is no connection and each shard failed several times in a row."""
        return bool(self.shards) and all(s.connection is None and s.failures >= BLOCKED_AFTER for s in self.shards)

    @property
    def refused(self) -> set[str]:
        """Return the streams whose subscription the exchange refuses."""
        return {name for shard in self.shards for name in shard.refused}

    @property
    def reconnects(self) -> int:
        """Return how many connections were replaced."""
        return sum(shard.reconnects for shard in self.shards)

    @property
    def connected(self) -> int:
        """Return how many connections are open."""
        return sum(shard.connection is not None for shard in self.shards)

    async def run(self, streams: list[str]) -> None:
        """Keep the streams subscribed until cancelled."""
        try:
            async with asyncio.TaskGroup() as self._tasks:
                self._start(streams)
                await asyncio.Event().wait()
        finally:
            for shard in self.shards:
                if shard.connection is not None:
                    await shard.connection.close(is_dead=True)

    def _start(self, streams: list[str]) -> None:
        for url, group in self._by_address(streams).items():
            for start in range(0, len(group), MAX_STREAMS):
                shard = Shard(len(self.shards), url, group[start : start + MAX_STREAMS])
                self.shards.append(shard)
                if self._tasks is not None:
                    self._tasks.create_task(self._keep_subscribed(shard))

    def _by_address(self, streams: Iterable[str]) -> dict[str, list[str]]:
        groups: dict[str, list[str]] = {}
        for name in streams:
            groups.setdefault(self._addresses.of(name), []).append(name)
        return groups

    async def add(self, streams: list[str]) -> None:
        """Subscribe to more streams: on connections with room, else on new ones."""
        for url, group in self._by_address(streams).items():
            shard = next((s for s in self.shards if s.url == url and len(s.streams) + len(group) <= MAX_STREAMS), None)
            if shard is None:
                self._start(group)
                continue
            shard.streams += group
            if shard.connection is not None:
                try:
                    shard.refused.update(await shard.connection.subscribe(group))
                except ExchangeUnavailable as error:
                    log.warning("new streams are subscribed with the next connection", error=str(error))

    def renew(self, names: Iterable[str]) -> None:
        """Replace the connections of these streams; no frame is lost.

        Each one is replaced at most once in `RENEW_EVERY_S`.
        """
        wanted, now = set(names), time.monotonic()
        for shard in self.shards:
            is_due = now - shard.renewed_at >= RENEW_EVERY_S
            if shard.connection is not None and is_due and not wanted.isdisjoint(shard.streams):
                shard.renewed_at = now
                shard.connection.replace_soon()

    async def _keep_subscribed(self, shard: Shard) -> None:
        ending = None
        while True:
            connection = await self._open(shard)
            if connection is None:
                await asyncio.sleep(jittered(shard.failures, cap_s=RECONNECT_CAP_S))
                continue
            former, shard.connection = shard.connection, connection
            # The silent stream is compared in any case. Comparing hundreds of others would delay
            # filling it.
            is_whole = ending is EndReason.STREAM_SILENT and former is not None and not former.is_over
            if former is not None:
                shard.reconnects += 1
                await former.close()  # after the new one is subscribed, so no frame is lost
            if not is_whole:
                self._on_connected(shard.streams, ending is None)
            ending = await self._wait_for_end(shard, connection)

    async def _open(self, shard: Shard) -> StreamConnection | None:
        connection = None
        try:
            connection = await StreamConnection.open(
                shard.address, self._frame_queue, clock=self._clock, name=shard.name, **self._limits
            )
            await self._subscribe(shard, connection)
        except (OSError, WebSocketException, ExchangeUnavailable) as error:
            if connection is not None:
                await connection.close(is_dead=True)
            self._note_failure(shard, error)
            return None
        shard.forget_failures()
        log.info("connected", connection=shard.name, streams=len(connection.streams))
        return connection

    @staticmethod
    async def _subscribe(shard: Shard, connection: StreamConnection) -> None:
        """Subscribe to all streams of a shard; those refused before come last, one by one."""
        refused = await connection.subscribe([name for name in shard.streams if name not in shard.refused])
        for name in [name for name in shard.streams if name in shard.refused]:
            refused |= await connection.subscribe([name])
        newly_refused = {name: answer for name, answer in refused.items() if name not in shard.refused}
        if newly_refused:
            log.warning(
                "the exchange refuses streams; the others are subscribed",
                connection=shard.name,
                count=len(newly_refused),
                answers=dict(list(newly_refused.items())[:NAMED_IN_LOG]),
            )
        shard.refused = set(refused)

    def _note_failure(self, shard: Shard, error: Exception) -> None:
        """Count and log a failed connection.

        When its route does not exist, connect to the base from now on.
        """
        shard.failures += 1
        if shard.connection is not None and shard.connection.is_over:
            shard.connection = None
        status = error.response.status_code if isinstance(error, InvalidStatus) else None
        if shard.is_news(f"{type(error).__name__} {status}"):
            log.warning("no connection", connection=shard.name, error=repr(error)[:500], status=status,
                        failures=shard.failures)  # fmt: skip
        base = self._addresses.without_route(shard.address) if status == 404 else None
        if base is not None:
            log.warning("the route does not exist; connecting without it", route=shard.address, address=base)
            shard.address = base

    async def _wait_for_end(self, shard: Shard, connection: StreamConnection) -> EndReason:
        """Wait until a connection must be replaced, and return why; close it if it is dead."""
        ending = await connection.ending()
        log.info("connection to be replaced", connection=shard.name, why=ending, age_s=round(connection.age_s, 1))
        if ending in (EndReason.DUE, EndReason.SHUTDOWN, EndReason.STREAM_SILENT):
            return ending  # it is read until the next one is subscribed
        await connection.close(is_dead=True)
        shard.connection = None
        shard.reconnects += 1
        shard.failures = shard.failures + 1 if connection.age_s < SHORT_LIFE_S else 0
        await asyncio.sleep(jittered(shard.failures - 1) if shard.failures else 0.0)
        return ending
