"""One WebSocket connection to the exchange: subscribe within the limits, and read until it ends.

Protocol (binance-spot-api-docs `web-socket-streams.md`): at most 1,024 streams and 5 messages per
second on one connection; the server closes it after 24 h, pings every 20 s, and sends
`serverShutdown` before it stops.
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

from common.errors import ExchangeUnavailable
from producer.exchange.frame_queue import FrameQueue

log = structlog.get_logger(__name__)

MAX_STREAMS: Final = 1_000  # under 1,024: room for symbols that are listed later
STREAMS_PER_MESSAGE: Final = 100
MESSAGE_PAUSE_S: Final = 0.3  # 3.3 messages/s: pongs and pings count towards the limit of 5 too
ANSWER_TIMEOUT_S: Final = 30.0
MAX_FRAME_BYTES: Final = 16 << 20
# A subscription that the exchange refuses is sent again in halves. 200 messages find 15 bad streams
# among 100, in two minutes; an exchange that refuses more counts as unavailable.
MAX_REFUSALS: Final = 200
# Three pings of the server are missing (one every 20 s): the connection is dead, even if TCP has
# not noticed.
SILENT_S: Final = 60.0
# After this many seconds without a frame, a new connection costs less than waiting.
STUCK_S: Final = 120.0
# Less than 24 h; each connection ends at a random time before this.
LIFETIME_S: Final = 23 * 3600.0

_FRAME: Final = b'{"stream":"'
_SHUTDOWN: Final = b'"e":"serverShutdown"'


class EndReason(StrEnum):
    """Why a connection must be replaced.

    For the first three reasons, the connection is read until its successor is subscribed.
    """

    DUE = "lifetime"
    SHUTDOWN = "serverShutdown"
    STREAM_SILENT = "a stream is silent"
    CLOSED = "closed"
    SILENT = "silent"


class _TimedConnection(ClientConnection):
    """A client connection that records when it last received bytes, pings included."""

    last_bytes = 0.0

    def data_received(self, data: bytes) -> None:
        self.last_bytes = self.loop.time()
        super().data_received(data)


class StreamConnection:
    """A connection that puts the frames of its streams into a queue.

    Args:
        connection: An open WebSocket.
        frame_queue: Receives the frames.
        clock: Returns the time in µs.
        name: Its name in logs and dead letters.
        lifetime_s: After this many seconds it must be replaced.
        silent_s: It is dead after this many seconds without any byte.
        stuck_s: It is dead after this many seconds without a frame.
    """

    def __init__(
        self,
        connection: ClientConnection,
        frame_queue: FrameQueue,
        *,
        clock: Callable[[], int],
        name: str,
        lifetime_s: float = LIFETIME_S,
        silent_s: float = SILENT_S,
        stuck_s: float = STUCK_S,
    ) -> None:
        self._connection, self._frame_queue, self._clock, self.name = connection, frame_queue, clock, name
        self._loop = asyncio.get_running_loop()
        self._born = self._loop.time()
        self._due = self._born + lifetime_s * random.uniform(0.95, 1.0)  # noqa: S311  # only spreads reconnects
        self._silent_s, self._stuck_s = silent_s, stuck_s
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._next_id = 0
        self._is_shutting_down = self._has_silent_stream = False
        self._refusals = 0
        self.frames = 0
        self.streams: list[str] = []
        self._last_frame = self._born
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def open(
        cls, url: str, frame_queue: FrameQueue, *, clock: Callable[[], int], name: str, **limits: float
    ) -> StreamConnection:
        """Connect to a combined stream without subscribing yet.

        Raises:
            OSError, websockets.exceptions.InvalidHandshake, TimeoutError: No connection.
        """
        connection = await connect(
            f"{url.rstrip('/')}/stream",
            create_connection=_TimedConnection,
            compression=None,  # the exchange offers none, and unpacking would cost more than it saves
            max_size=MAX_FRAME_BYTES,
            max_queue=1024,
            ping_interval=None,  # the server pings; `_TimedConnection` records when
            user_agent_header="tickhouse",
        )
        return cls(connection, frame_queue, clock=clock, name=name, **limits)

    async def _read(self) -> None:
        recv, put, clock, loop = self._connection.recv, self._frame_queue.put, self._clock, self._loop
        try:
            while True:
                frame: bytes = await recv(decode=False)
                self.frames += 1
                self._last_frame = loop.time()
                if not frame.startswith(_FRAME) or _SHUTDOWN in frame[:80]:
                    self._handle_control_frame(frame)
                if put((frame, clock(), 0)):
                    await self._frame_queue.room()
        except ConnectionClosed as error:
            log.info("connection closed", connection=self.name, reason=str(error))

    def _handle_control_frame(self, frame: bytes) -> None:
        """Handle frames without an event: answers, and the notice of a shutdown."""
        if _SHUTDOWN in frame[:80]:
            log.info("the exchange shuts a server down", connection=self.name)
            self._is_shutting_down = True
            return
        try:
            answer = msgspec.json.decode(frame)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return  # the intake sends it to the dead letters
        if isinstance(answer, dict):
            waiting = self._answers.pop(self._number_of(answer), None)
            if waiting is not None and not waiting.done():
                waiting.set_result(answer)

    def _number_of(self, answer: dict[str, Any]) -> int:
        """Return the number of the message that is answered.

        An error may lack the number. It then belongs to the only message that waits for an answer.
        """
        number = answer.get("id")
        if number is None and _is_error(answer) and len(self._answers) == 1:
            (number,) = self._answers
        return int(number) if isinstance(number, int) else 0

    async def subscribe(self, streams: list[str]) -> dict[str, str]:
        """Subscribe to streams within the rate limit; return the refused ones with the answer.

        Raises:
            ExchangeUnavailable: The exchange did not answer, or refused too many streams.
        """
        refused: dict[str, str] = {}
        for start in range(0, len(streams), STREAMS_PER_MESSAGE):
            refused |= await self._subscribe(streams[start : start + STREAMS_PER_MESSAGE])
        return refused

    async def _subscribe(self, streams: list[str]) -> dict[str, str]:
        """Subscribe in one message; if it is refused, repeat in halves to find the bad streams."""
        answer = await self._send_request("SUBSCRIBE", streams)
        await asyncio.sleep(MESSAGE_PAUSE_S)
        if not _is_error(answer):
            self.streams += streams
            return {}
        self._refusals += 1
        if self._refusals > MAX_REFUSALS:
            raise ExchangeUnavailable(f"{self.name} refuses subscriptions: {str(answer)[:200]}.")
        if len(streams) == 1:
            return {streams[0]: str(answer)[:200]}
        middle = len(streams) // 2
        return await self._subscribe(streams[:middle]) | await self._subscribe(streams[middle:])

    async def _send_request(self, method: str, params: list[str]) -> dict[str, Any]:
        self._next_id = number = self._next_id + 1
        answer: asyncio.Future[dict[str, Any]] = self._loop.create_future()
        self._answers[number] = answer
        message = msgspec.json.encode({"method": method, "params": params, "id": number}).decode()
        try:
            await self._connection.send(message)
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                return await answer
        except (ConnectionClosed, TimeoutError) as error:
            raise ExchangeUnavailable(f"{self.name} did not answer {method}: {error!r}.") from error
        finally:
            self._answers.pop(number, None)

    async def ending(self, every_s: float = 1.0) -> EndReason:
        """Wait until this connection has ended or must be replaced, and return why."""
        while True:
            done, _ = await asyncio.wait({self._reader}, timeout=every_s)
            if done:
                self._reader.result()
                return EndReason.CLOSED
            if self._is_shutting_down:
                return EndReason.SHUTDOWN
            if self._has_silent_stream:
                return EndReason.STREAM_SILENT
            reason = self._overdue(self._loop.time())
            if reason is not None:
                return reason

    def _overdue(self, now: float) -> EndReason | None:
        if now >= self._due:
            return EndReason.DUE
        last_bytes = getattr(self._connection, "last_bytes", 0.0) or self._born
        if now - last_bytes > self._silent_s or now - self._last_frame > self._stuck_s:
            return EndReason.SILENT
        return None

    def replace_soon(self) -> None:
        """Request a replacement because a stream is silent; this connection is read until then."""
        self._has_silent_stream = True

    @property
    def is_over(self) -> bool:
        """Return whether the connection has ended."""
        return self._reader.done()

    @property
    def age_s(self) -> float:
        """Return for how many seconds it has been open."""
        return self._loop.time() - self._born

    async def close(self, *, is_dead: bool = False) -> None:
        """Close the connection; frames it has received still go into the queue.

        Args:
            is_dead: Do not wait for the closing handshake.
        """
        if is_dead:
            self._connection.transport.abort()
        else:
            await self._connection.close()
        await asyncio.wait({self._reader}, timeout=10.0)
        self._reader.cancel()


def _is_error(answer: dict[str, Any]) -> bool:
    return "code" in answer or "error" in answer
