"""The events of the live stream: one reader of Redis per process, many clients.

The hub reads the stream once and keeps its newest events in memory. Each client has only a
position, the id of the last event that it was sent; there is no queue per client that could grow.
A client whose position is no longer in memory, because it is slow or was away, reads the events
that it missed from Redis, in pages. Only when Redis has trimmed them too are they lost, and the
client is told so with an event `lost`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import msgspec
import redis.asyncio
import redis.exceptions
import structlog

from api.metrics import ApiMetrics
from common.clients.live_stream import KEY

# Events in memory, some 300 bytes each.
MOST_IN_MEMORY: Final = 8192
# Events that a client is sent at once, and that one page of Redis has.
MOST_AT_ONCE: Final = 256
BLOCK_MS: Final = 2000
PAUSE_S: Final = 0.5
_FIELDS: Final = {b"kind", b"market", b"symbol", b"data"}
log = structlog.get_logger("api.live")


class EventId(msgspec.Struct, frozen=True, order=True):
    """The id of an entry of a Redis Stream: milliseconds and a number; ids ascend."""

    ms: int
    number: int

    def __str__(self) -> str:
        return f"{self.ms}-{self.number}"

    @classmethod
    def parse(cls, text: str) -> EventId | None:
        """Return the id of a text such as `1526919030474-55`; None when it is not one (pure)."""
        ms, _, number = text.partition("-")
        # Redis takes 64 bits; what is longer was never an id.
        is_id = all(part.isascii() and part.isdecimal() and len(part) < 20 for part in (ms, number))
        return cls(int(ms), int(number)) if is_id else None


START: Final = EventId(0, 0)


@dataclass(frozen=True, slots=True)
class LiveEvent:
    """One event; `frame` is what a client is sent, encoded once for all of them."""

    id: EventId
    kind: str
    market: str
    symbol: str
    frame: bytes


@dataclass(frozen=True, slots=True)
class EventBatch:
    """Events after a position, the position after them, and whether some before them are lost.

    Attributes:
        events: In order; maybe none.
        position: Of the last event.
        lost_until: First event that there still is; None when nothing is lost.
    """

    events: list[LiveEvent]
    position: EventId
    lost_until: EventId | None = None


class LiveHub:
    """Reads the live stream and gives every client the events after its position."""

    def __init__(self, client: redis.asyncio.Redis, metrics: ApiMetrics, most_in_memory: int = MOST_IN_MEMORY) -> None:
        self._client: Any = client  # the stubs of redis-py mix sync and async answers
        self._metrics = metrics
        self._events: deque[LiveEvent] = deque()
        self._most = most_in_memory
        # Every event after this one, up to `newest`, is in memory.
        self._floor = START
        self.newest = START
        self._changed = asyncio.Event()
        self.is_connected = False
        self.is_closing = False

    async def run(self) -> None:
        """Read the stream until the task is cancelled; an outage of Redis is waited out."""
        while True:
            try:
                if not self.is_connected:
                    await self._connect()
                answer = await self._client.xread({KEY: str(self.newest)}, count=1000, block=BLOCK_MS)
                self._append([event_of(*raw) for _, raws in answer for raw in raws])
            except (redis.exceptions.RedisError, OSError) as error:
                if self.is_connected:
                    log.warning("live_down", error=repr(error))
                self.is_connected = False
                await asyncio.sleep(PAUSE_S)

    async def _connect(self) -> None:
        """Start after the newest entry, or where the connection broke."""
        last = await self._client.xrevrange(KEY, count=1)
        newest = _id_of(last[0][0]) if last else START
        if self.newest == START or newest < self.newest:  # a first start, or another stream
            self._events.clear()
            self._floor = self.newest = newest
        else:
            oldest = await self._client.xrange(KEY, count=1)
            if oldest and _id_of(oldest[0][0]) > self.newest:
                # Trimmed while the connection was broken: clients read the rest from Redis.
                self._events.clear()
                self._floor = self.newest = newest
        self.is_connected = True
        self._wake()

    def _append(self, events: Iterable[LiveEvent]) -> None:
        before = self.newest
        for event in events:
            self._events.append(event)
            self.newest = event.id
            if len(self._events) > self._most:
                self._floor = self._events.popleft().id
            self._metrics.live_events.inc()
        if self.newest != before:
            self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def close(self) -> None:
        """Tell all clients to come again; they end by themselves."""
        self.is_closing = True
        self._wake()

    async def wait(self, position: EventId, timeout_s: float) -> None:
        """Wait until there is an event after a position, the hub closes, or the time is over."""
        changed = self._changed
        if position < self.newest or self.is_closing:
            return
        try:
            async with asyncio.timeout(timeout_s):
                await changed.wait()
        except TimeoutError:
            return

    async def after(self, position: EventId) -> EventBatch:
        """Return the next events after a position.

        Raises:
            redis.exceptions.RedisError: They are not in memory, and Redis does not answer.
        """
        if position >= self._floor:
            return self._from_memory(position)
        self._metrics.live_slow.inc()
        raws = await self._client.xrange(KEY, min=f"({position}", count=MOST_AT_ONCE)
        events = [event_of(*raw) for raw in raws]
        if not events:  # the stream was removed
            return EventBatch([], self._floor, self._floor)
        lost_until = events[0].id if await self._is_trimmed(position) else None
        return EventBatch(events, events[-1].id, lost_until)

    def _from_memory(self, position: EventId) -> EventBatch:
        newer = list(islice(_newer(self._events, position), MOST_AT_ONCE))
        return EventBatch(newer, newer[-1].id if newer else max(position, self.newest))

    async def _is_trimmed(self, position: EventId) -> bool:
        """Return whether events after a position may have been trimmed."""
        if position == START:  # a client that wants whatever there is
            return False
        oldest = await self._client.xrange(KEY, count=1)
        return bool(oldest) and _id_of(oldest[0][0]) > position


def _newer(events: deque[LiveEvent], position: EventId) -> Iterable[LiveEvent]:
    """Yield the events after a position: most clients are near the end, so it looks from there."""
    count = 0
    for event in reversed(events):
        if event.id <= position:
            break
        count += 1
    return islice(events, len(events) - count, None)


def _id_of(raw: bytes) -> EventId:
    ms, _, number = raw.partition(b"-")
    return EventId(int(ms), int(number))


def event_of(raw_id: bytes, fields: dict[bytes, bytes]) -> LiveEvent:
    """Return an entry of the stream as an event; a foreign one has no frame (pure)."""
    if not fields.keys() >= _FIELDS:
        return LiveEvent(_id_of(raw_id), "", "", "", b"")
    kind, market, symbol = (fields[name].decode() for name in (b"kind", b"market", b"symbol"))
    # JSON has no line breaks, so that the data is one line of the frame.
    frame = b"id: %b\nevent: %b\ndata: %b\n\n" % (raw_id, fields[b"kind"], fields[b"data"])
    return LiveEvent(_id_of(raw_id), kind, market, symbol, frame)
