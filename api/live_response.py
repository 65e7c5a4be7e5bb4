"""Server-sent events: the response of one client of the live stream."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Final

import msgspec
import redis.exceptions
import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.live_hub import EventId, LiveEvent, LiveHub
from api.metrics import ApiMetrics

HEARTBEAT_S: Final = 10.0
# A client that takes nothing for this long is disconnected; it may come again with its last id.
WRITE_S: Final = 60.0
RETRY_MS: Final = 2000
PAUSE_S: Final = 1.0
log = structlog.get_logger("api.live")


@dataclass(frozen=True, slots=True)
class Subscription:
    """Which events a client wants; an empty set wants all."""

    kinds: frozenset[str] = frozenset()
    markets: frozenset[str] = frozenset()
    symbols: frozenset[str] = frozenset()

    def wants(self, event: LiveEvent) -> bool:
        """Return whether a client wants an event (pure). An alert may be about no symbol."""
        return (
            (not self.kinds or event.kind in self.kinds)
            and (not self.markets or not event.market or event.market in self.markets)
            and (not self.symbols or not event.symbol or event.symbol in self.symbols)
        )


class LiveResponse(Response):
    """Sends events until the client goes or the server stops."""

    def __init__(
        self,
        hub: LiveHub,
        metrics: ApiMetrics,
        wanted: Subscription,
        position: EventId,
        *,
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        super().__init__(media_type="text/event-stream")
        self.headers["Cache-Control"] = "no-store"
        self.headers["X-Accel-Buffering"] = "no"
        del self.headers["content-length"]
        self._hub = hub
        self._metrics = metrics
        self._wanted = wanted
        self._position = position
        self._heartbeat_s = heartbeat_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one client."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        self._metrics.client_came()
        writing = asyncio.create_task(self._write(send))
        leaving = asyncio.create_task(_disconnected(receive))
        try:
            await asyncio.wait({writing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._metrics.client_left()
            writing.cancel()
            leaving.cancel()
            for error in await asyncio.gather(writing, leaving, return_exceptions=True):
                if isinstance(error, Exception) and not isinstance(error, TimeoutError):
                    log.warning("live_client", error=repr(error))

    async def _write(self, send: Send) -> None:
        await _send(send, b"retry: %d\n\n" % RETRY_MS)
        quiet_since = time.monotonic()
        while not self._hub.is_closing:
            frames = await self._next_frames()
            if frames:
                await _send(send, b"".join(frames))
                quiet_since = time.monotonic()
            left_s = quiet_since + self._heartbeat_s - time.monotonic()
            if left_s <= 0:
                # The id lets a client whose symbols are quiet resume from here.
                await _send(send, b": heartbeat\nid: %b\n\n" % str(self._position).encode())
                quiet_since = time.monotonic()
            await self._hub.wait(self._position, max(left_s, 0.001))
        await _send(send, b"event: closing\ndata: {}\n\n")
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _next_frames(self) -> list[bytes]:
        """Return the frames of the next events that the client wants, and move on."""
        try:
            batch = await self._hub.after(self._position)
        except (redis.exceptions.RedisError, OSError):
            await asyncio.sleep(PAUSE_S)
            return []
        frames = [event.frame for event in batch.events if self._wanted.wants(event)]
        if batch.lost_until is not None:
            self._metrics.live_lost.inc()
            frames.insert(0, lost_frame(self._position, batch.lost_until))
        self._position = batch.position
        return frames


def lost_frame(position: EventId, until: EventId) -> bytes:
    """Return the event that says which events are lost: after `from`, and before `to` (pure)."""
    data = msgspec.json.encode({"from": str(position), "to": str(until)})
    return b"event: lost\ndata: %b\n\n" % data


async def _send(send: Send, body: bytes) -> None:
    """Send a part of the body; wait while the client's buffers are full.

    Raises:
        TimeoutError: The client takes nothing.
    """
    async with asyncio.timeout(WRITE_S):
        await send({"type": "http.response.body", "body": body, "more_body": True})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
