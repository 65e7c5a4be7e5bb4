"""One WebSocket connection to the exchange: subscribe within the limits, read until it ends or ought to.

Protocol: binance-spot-api-docs `web-socket-streams.md`: at most 1,024 streams and 5 messages a second a connection,
24 h of life, a ping every 20 s, `serverShutdown` before a server goes.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from enum import StrEnum
from typing import Any, Final

import msgspec
import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from producer.inbox import Inbox
from tickhouse.errors import ExchangeUnavailable

log = structlog.get_logger(__name__)

MAX_STREAMS: Final = 1_000  # under 1,024: room to add symbols that appear
STREAMS_A_MESSAGE: Final = 100
MESSAGE_PAUSE_S: Final = 0.3  # 3.3 messages/s: pongs and pings count towards the limit of 5 too
ANSWER_TIMEOUT_S: Final = 30.0
MAX_FRAME_BYTES: Final = 16 << 20
# Three server pings missed (one every 20 s): the other side is gone, whatever TCP says.
SILENT_S: Final = 60.0
# Frames stopped although the connection lives: after this long a new connection is cheaper than waiting.
STUCK_S: Final = 120.0
# Before the 24 h are over, at a time of its own for every connection.
LIFETIME_S: Final = 23 * 3600.0

_FRAME: Final = b'{"stream":"'
_SHUTDOWN: Final = b'"e":"serverShutdown"'


class Ending(StrEnum):
    """Why a connection must be replaced; the first two need no hurry and lose nothing."""

    DUE = "lifetime"
    SHUTDOWN = "serverShutdown"
    CLOSED = "closed"
    SILENT = "silent"


class _Watched(ClientConnection):
    """Notes when bytes of any kind came, pings included."""

    last_bytes = 0.0

    def data_received(self, data: bytes) -> None:
        self.last_bytes = self.loop.time()
        super().data_received(data)


class Socket:
    """A subscribed connection that puts frames into an inbox.

    Args:
        connection: An open connection.
        inbox: Takes the frames.
        clock: Returns the time in µs.
        name: For logs and dead letters.
        lifetime_s: After how long it is due for replacement.
    """

    def __init__(
        self,
        connection: ClientConnection,
        inbox: Inbox,
        *,
        clock: Callable[[], int],
        name: str,
        lifetime_s: float = LIFETIME_S,
        silent_s: float = SILENT_S,
        stuck_s: float = STUCK_S,
    ) -> None:
        self._connection, self._inbox, self._clock, self.name = connection, inbox, clock, name
        self._loop = asyncio.get_running_loop()
        self._born = self._loop.time()
        self._due = self._born + lifetime_s * random.uniform(0.95, 1.0)  # noqa: S311  # only spreads reconnects
        self._silent_s, self._stuck_s = silent_s, stuck_s
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._next_id = 0
        self._is_shutting_down = False
        self.frames = 0
        self.streams: list[str] = []
        self._last_frame = self._born
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def open(cls, url: str, inbox: Inbox, *, clock: Callable[[], int], name: str, **limits: float) -> Socket:
        """Connect to a combined stream without subscribing yet.

        Raises:
            OSError, websockets.exceptions.InvalidHandshake, TimeoutError: No connection.
        """
        connection = await connect(
            f"{url.rstrip('/')}/stream",
            create_connection=_Watched,
            compression=None,  # the exchange offers none, and inflating costs more than the bytes
            max_size=MAX_FRAME_BYTES,
            max_queue=1024,
            ping_interval=None,  # the server pings; `_Watched` sees whether it still does
            user_agent_header="tickhouse",
        )
        return cls(connection, inbox, clock=clock, name=name, **limits)

    async def _read(self) -> None:
        recv, put, clock, loop = self._connection.recv, self._inbox.put, self._clock, self._loop
        try:
            while True:
                frame: bytes = await recv(decode=False)
                self.frames += 1
                self._last_frame = loop.time()
                if not frame.startswith(_FRAME) or _SHUTDOWN in frame[:80]:
                    self._control(frame)
                if put((frame, clock(), 0)):
                    await self._inbox.room()
        except ConnectionClosed as error:
            log.info("connection closed", connection=self.name, reason=str(error))

    def _control(self, frame: bytes) -> None:
        """Look at what is no event: answers to our messages, and the notice of a shutdown."""
        if _SHUTDOWN in frame[:80]:
            log.info("the exchange shuts a server down", connection=self.name)
            self._is_shutting_down = True
            return
        try:
            answer = msgspec.json.decode(frame)
        except msgspec.DecodeError:
            return  # the intake makes a dead letter of it
        number = answer.get("id") if isinstance(answer, dict) else None
        waiting = self._answers.pop(number, None) if isinstance(number, int) else None
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)

    async def subscribe(self, streams: list[str]) -> None:
        """Subscribe to streams, in messages that respect the rate limit, and wait for each answer.

        Raises:
            ExchangeUnavailable: The exchange refused, or did not answer.
        """
        for start in range(0, len(streams), STREAMS_A_MESSAGE):
            part = streams[start : start + STREAMS_A_MESSAGE]
            await self._ask("SUBSCRIBE", part)
            self.streams += part
            await asyncio.sleep(MESSAGE_PAUSE_S)

    async def _ask(self, method: str, params: list[str]) -> None:
        self._next_id += 1
        answer = self._answers[self._next_id] = self._loop.create_future()
        message = msgspec.json.encode({"method": method, "params": params, "id": self._next_id}).decode()
        try:
            await self._connection.send(message)
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                body = await answer
        except (ConnectionClosed, TimeoutError) as error:
            raise ExchangeUnavailable(f"{self.name} did not answer {method}: {error!r}.") from error
        if "code" in body or "error" in body:
            raise ExchangeUnavailable(f"{self.name} refused {method}: {body}.")

    async def ending(self, every_s: float = 1.0) -> Ending:
        """Wait until this connection ended or must be replaced, and say why."""
        while True:
            done, _ = await asyncio.wait({self._reader}, timeout=every_s)
            if done:
                self._reader.result()
                return Ending.CLOSED
            if self._is_shutting_down:
                return Ending.SHUTDOWN
            reason = self._overdue(self._loop.time())
            if reason is not None:
                return reason

    def _overdue(self, now: float) -> Ending | None:
        if now >= self._due:
            return Ending.DUE
        last_bytes = getattr(self._connection, "last_bytes", 0.0) or self._born
        if now - last_bytes > self._silent_s or now - self._last_frame > self._stuck_s:
            return Ending.SILENT
        return None

    @property
    def is_over(self) -> bool:
        """Return whether it reads no more."""
        return self._reader.done()

    @property
    def age_s(self) -> float:
        """Return for how long it has been open."""
        return self._loop.time() - self._born

    async def close(self, *, is_dead: bool = False) -> None:
        """Close; of a dead connection no good-bye is awaited. What it still holds is put into the inbox."""
        if is_dead:
            self._connection.transport.abort()
        else:
            await self._connection.close()
        await asyncio.wait({self._reader}, timeout=10.0)
        self._reader.cancel()
