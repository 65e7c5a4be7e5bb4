"""Keep every stream subscribed: split over connections, replace those that end, before they end where possible."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog
from websockets.exceptions import InvalidHandshake, InvalidStatus

from producer.connection import MAX_STREAMS, Ending, Socket
from producer.inbox import Inbox
from producer.rest import jittered
from tickhouse.errors import ExchangeUnavailable

log = structlog.get_logger(__name__)

# A connection that lived shorter than this counts as a failure: the next one waits longer.
SHORT_LIFE_S = 10.0
# So many refusals in a row, and the WebSocket is taken for blocked: REST polling takes over meanwhile.
BLOCKED_AFTER = 3
# With full jitter 30 tries in 5 min a connection, of the 300 that an address is allowed.
RECONNECT_CAP_S = 20.0


class Shard:
    """One connection's share of the streams, over all the connections it has in its life."""

    def __init__(self, name: str, streams: list[str]) -> None:
        self.name, self.streams = name, streams
        self.socket: Socket | None = None
        self.failures = 0
        self.reconnects = 0


class Shards:
    """All connections of one market.

    Args:
        url: Base such as wss://stream.binance.com:9443.
        inbox: Takes the frames.
        clock: Returns the time in µs.
        on_connected: Called with the streams of a shard whenever it is subscribed anew.
        limits: lifetime_s, silent_s, stuck_s of `Socket`, where a test wants them shorter.
    """

    def __init__(
        self,
        url: str,
        inbox: Inbox,
        *,
        clock: Callable[[], int],
        on_connected: Callable[[list[str]], None],
        limits: dict[str, float] | None = None,
    ) -> None:
        self._url, self._inbox, self._clock, self._on_connected = url, inbox, clock, on_connected
        self._limits = limits or {}
        self.shards: list[Shard] = []
        self._tasks: asyncio.TaskGroup | None = None

    def is_blocked(self) -> bool:
        """Return whether no connection stands and each was refused again and again."""
        return bool(self.shards) and all(s.socket is None and s.failures >= BLOCKED_AFTER for s in self.shards)

    @property
    def reconnects(self) -> int:
        """Return how many connections were made after the first ones."""
        return sum(shard.reconnects for shard in self.shards)

    @property
    def connected(self) -> int:
        """Return how many connections stand."""
        return sum(shard.socket is not None for shard in self.shards)

    async def run(self, streams: list[str]) -> None:
        """Hold the streams until cancelled."""
        try:
            async with asyncio.TaskGroup() as self._tasks:
                self._start(streams)
                await asyncio.Event().wait()
        finally:
            for shard in self.shards:
                if shard.socket is not None:
                    await shard.socket.close(is_dead=True)

    def _start(self, streams: list[str]) -> None:
        for start in range(0, len(streams), MAX_STREAMS):
            shard = Shard(f"{self._url}/stream#{len(self.shards)}", streams[start : start + MAX_STREAMS])
            self.shards.append(shard)
            if self._tasks is not None:
                self._tasks.create_task(self._keep(shard))

    async def add(self, streams: list[str]) -> None:
        """Subscribe to more streams: on a connection with room, else on new ones."""
        shard = next((s for s in self.shards if len(s.streams) + len(streams) <= MAX_STREAMS), None)
        if shard is None:
            self._start(streams)
            return
        shard.streams += streams
        if shard.socket is not None:
            try:
                await shard.socket.subscribe(streams)
            except ExchangeUnavailable as error:
                log.warning("new streams come with the next connection", error=str(error))

    async def _keep(self, shard: Shard) -> None:
        while True:
            fresh = await self._open(shard)
            if fresh is None:
                await asyncio.sleep(jittered(shard.failures, cap_s=RECONNECT_CAP_S))
                continue
            former, shard.socket = shard.socket, fresh
            if former is not None:
                shard.reconnects += 1
                await former.close()  # the new one stands: nothing is lost between the two
            self._on_connected(shard.streams)
            await self._hold(shard, fresh)

    async def _open(self, shard: Shard) -> Socket | None:
        socket = None
        try:
            socket = await Socket.open(self._url, self._inbox, clock=self._clock, name=shard.name, **self._limits)
            await socket.subscribe(list(shard.streams))
        except (OSError, InvalidHandshake, TimeoutError, ExchangeUnavailable) as error:
            if socket is not None:
                await socket.close(is_dead=True)
            shard.failures += 1
            if shard.socket is not None and shard.socket.is_over:
                shard.socket = None
            refused = error.response.status_code if isinstance(error, InvalidStatus) else None
            log.warning("no connection", connection=shard.name, error=repr(error), status=refused, try_=shard.failures)
            return None
        log.info("connected", connection=shard.name, streams=len(shard.streams))
        return socket

    async def _hold(self, shard: Shard, socket: Socket) -> None:
        """Stay with a connection until it must be replaced; what is dead is gone when this returns."""
        ending = await socket.ending()
        log.info("connection to be replaced", connection=shard.name, why=ending, age_s=round(socket.age_s, 1))
        if ending in (Ending.DUE, Ending.SHUTDOWN):
            return  # it reads on until the next one stands
        await socket.close(is_dead=True)
        shard.socket = None
        shard.reconnects += 1
        shard.failures = shard.failures + 1 if socket.age_s < SHORT_LIFE_S else 0
        await asyncio.sleep(jittered(shard.failures - 1) if shard.failures else 0.0)
