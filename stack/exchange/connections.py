"""Client connections: what each one subscribed to, and the bytes on their way to it.

Server frames are written by hand onto the transport, one write a batch: a third of the CPU of one call a frame. They
are unmasked and unfragmented (RFC 6455, 5.2), so they mix safely with the frames aiohttp writes itself.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterable

from stack.exchange.config import WebSocketRules
from stack.exchange.protocol import (
    INVALID_REQUEST,
    ProtocolError,
    Request,
    parse_request,
    property_of,
    stream_names,
    success,
)
from stack.exchange.tape import Frame

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA

# Close codes of RFC 6455: going away (24 h cut, shutdown) and policy violation (message limit).
GOING_AWAY, POLICY = 1001, 1008

Clock = Callable[[], float]


def encode(opcode: int, payload: bytes) -> bytes:
    """Return one final, unmasked WebSocket frame."""
    size = len(payload)
    if size < 126:
        return bytes((0x80 | opcode, size)) + payload
    if size < 65_536:
        return bytes((0x80 | opcode, 126)) + size.to_bytes(2, "big") + payload
    return bytes((0x80 | opcode, 127)) + size.to_bytes(8, "big") + payload


def wrapped(stream: str, data: str) -> str:
    """Return an event in the envelope of a combined stream."""
    return f'{{"stream":"{stream}","data":{data}}}'


class Connection:
    """One WebSocket connection.

    Args:
        number: Counts up from 1.
        transport: Where bytes go; never buffered elsewhere.
        is_combined: Whether events are wrapped; SET_PROPERTY changes it.
        is_micro: Whether the URL asked for microseconds.
        opened_at_s: Monotonic clock.
    """

    def __init__(
        self, number: int, transport: asyncio.Transport, *, is_combined: bool, is_micro: bool, opened_at_s: float
    ) -> None:
        self.number = number
        self.transport = transport
        self.is_combined = is_combined
        self.is_micro = is_micro
        self.opened_at_s = opened_at_s
        self.streams: dict[str, None] = {}
        self.out: list[bytes] = []
        self.frozen_until_s = 0.0
        self.doomed_at_s = float("inf")
        self.closed_at_s: float | None = None
        self.next_ping_s = 0.0
        self.unanswered: dict[bytes, float] = {}
        self.probes: dict[bytes, Callable[[], None]] = {}
        self.heard_s: deque[float] = deque()

    @property
    def is_open(self) -> bool:
        """Return whether bytes written now can still arrive."""
        return self.closed_at_s is None and not self.transport.is_closing()

    def is_frozen(self, now_s: float) -> bool:
        """Return whether the connection plays half open."""
        return now_s < self.frozen_until_s

    def text(self, payload: str) -> None:
        """Queue an answer or an unwrapped event."""
        self.out.append(encode(TEXT, payload.encode()))

    def flush(self, now_s: float) -> None:
        """Write what is queued in one go; a half-open connection loses it."""
        if self.out and self.is_open and not self.is_frozen(now_s):
            self.transport.write(b"".join(self.out))
        self.out.clear()

    def backlog(self) -> int:
        """Return how many bytes the client has not taken yet."""
        return self.transport.get_write_buffer_size() if self.is_open else 0

    def ping(self, payload: bytes, now_s: float) -> None:
        """Send a ping whose pong must repeat the payload."""
        self.unanswered[payload] = now_s
        self.out.append(encode(PING, payload))

    def probe(self, payload: bytes, on_pong: Callable[[], None]) -> None:
        """Send a ping that proves, once answered, that the client read everything before it."""
        self.probes[payload] = on_pong
        self.out.append(encode(PING, payload))

    def heard_pong(self, payload: bytes) -> bool:
        """Take a pong; return whether we had asked for it. An unasked one keeps nothing alive."""
        if (proven := self.probes.pop(payload, None)) is not None:
            proven()
            return True
        if payload not in self.unanswered:
            return False
        # A pong answers every ping before it as well (RFC 6455, 5.5.3).
        sent_s = self.unanswered[payload]
        self.unanswered = {key: at for key, at in self.unanswered.items() if at > sent_s}
        return True

    def close(self, code: int, reason: str) -> None:
        """Say why, flush, close."""
        if self.is_open:
            self.transport.write(encode(CLOSE, code.to_bytes(2, "big") + reason.encode()))
            self.transport.close()

    def cut(self) -> None:
        """Close without a word; what the client has not taken is lost."""
        self.transport.abort()


class Hub:
    """All connections and who gets what.

    Args:
        rules: Binance's limits.
        clock: Monotonic seconds.
    """

    def __init__(self, rules: WebSocketRules, clock: Clock) -> None:
        self.rules = rules
        self.clock = clock
        self.open_connections: dict[int, Connection] = {}
        self.by_stream: dict[str, list[Connection]] = {}
        self.ever_subscribed: dict[str, None] = {}
        self.sent: Counter[str] = Counter()
        self.opened = 0

    def open(self, transport: asyncio.Transport, *, is_combined: bool, is_micro: bool) -> Connection:
        """Register a new connection."""
        self.opened += 1
        now_s = self.clock()
        connection = Connection(self.opened, transport, is_combined=is_combined, is_micro=is_micro, opened_at_s=now_s)
        connection.next_ping_s = now_s + self.rules.ping_interval_s
        self.open_connections[connection.number] = connection
        return connection

    def closed(self, connection: Connection) -> None:
        """Forget a connection."""
        connection.closed_at_s = self.clock()
        self.open_connections.pop(connection.number, None)
        self.unsubscribe(connection, list(connection.streams))

    def subscribe(self, connection: Connection, names: Iterable[str]) -> None:
        """Add streams to a connection; a stream it has already is no error."""
        for name in names:
            if name not in connection.streams:
                connection.streams[name] = None
                self.by_stream.setdefault(name, []).append(connection)
                self.ever_subscribed[name] = None

    def unsubscribe(self, connection: Connection, names: Iterable[str]) -> None:
        """Take streams from a connection; one it has not is no error."""
        for name in names:
            if name in connection.streams:
                del connection.streams[name]
                self.by_stream[name].remove(connection)
                if not self.by_stream[name]:
                    del self.by_stream[name]

    def subscribed(self) -> list[Connection]:
        """Return the open connections with a subscription, oldest first."""
        return [c for c in self.open_connections.values() if c.streams and c.is_open]

    def units(self, is_all_micro: bool) -> set[int]:
        """Return the time units that someone needs: 1 for microseconds, 1,000 for milliseconds."""
        return {1 if is_all_micro or c.is_micro else 1_000 for c in self.open_connections.values() if c.streams}

    def deliver(self, frames: Iterable[Frame], unit: int, is_all_micro: bool) -> int:
        """Queue events for every subscriber that reads this unit; return how many went to somebody."""
        now_s, by_stream, reached = self.clock(), self.by_stream, 0
        for stream, data, _ in frames:
            plain = combined = b""
            for connection in by_stream.get(stream, ()):
                if (1 if is_all_micro or connection.is_micro else 1_000) != unit or connection.is_frozen(now_s):
                    continue
                if connection.is_combined:
                    combined = combined or encode(TEXT, wrapped(stream, data).encode())
                    connection.out.append(combined)
                else:
                    plain = plain or encode(TEXT, data.encode())
                    connection.out.append(plain)
                self.sent[stream.partition("@")[2]] += 1
            reached += bool(plain or combined)
        return reached

    def flush(self) -> None:
        """Write every queue, one write a connection."""
        now_s = self.clock()
        for connection in self.open_connections.values():
            connection.flush(now_s)

    def backlog(self) -> int:
        """Return the most bytes that any client has not taken."""
        return max((c.backlog() for c in self.open_connections.values()), default=0)

    def heard(self, connection: Connection, *, is_asked_for: bool = False) -> bool:
        """Count a client message; return False, and close, when there were too many in a second.

        Pings and pongs count (Binance), except the pongs that we asked for.
        """
        if is_asked_for:
            return True
        now_s = self.clock()
        times = connection.heard_s
        times.append(now_s)
        while times[0] <= now_s - 1.0:
            times.popleft()
        if len(times) <= self.rules.messages_per_s:
            return True
        connection.close(POLICY, "Too many requests")
        return False

    def answer(self, connection: Connection, text: str | bytes) -> None:
        """Answer a client message: an ack, a list, a property or an error, never wrapped."""
        try:
            request = parse_request(text)
            connection.text(success(self._apply(connection, request), request.request_id))
        except ProtocolError as error:
            connection.text(error.answer())
        connection.flush(self.clock())

    def _apply(self, connection: Connection, request: Request) -> object:
        if request.method == "LIST_SUBSCRIPTIONS":
            return list(connection.streams)
        if request.method == "UNSUBSCRIBE":
            self.unsubscribe(connection, stream_names(request))
            return None
        if request.method == "SUBSCRIBE":
            names = stream_names(request)
            if len({*connection.streams, *names}) > self.rules.max_streams:
                raise ProtocolError(INVALID_REQUEST, "Invalid request: too many streams", request.request_id)
            self.subscribe(connection, names)
            return None
        value = property_of(request)
        if value is None:
            return connection.is_combined
        connection.is_combined = value
        return None

    def keep_alive(self) -> None:
        """Ping who is due, cut who did not answer, end who has lived too long."""
        now_s = self.clock()
        for connection in list(self.open_connections.values()):
            if connection.is_frozen(now_s):
                continue
            self._keep_alive(connection, now_s)

    def _keep_alive(self, connection: Connection, now_s: float) -> None:
        oldest_s = min(connection.unanswered.values(), default=now_s)
        if now_s - oldest_s > self.rules.pong_timeout_s:
            connection.cut()
        elif now_s >= connection.doomed_at_s:
            connection.close(GOING_AWAY, "shutdown")
        elif now_s - connection.opened_at_s > self.rules.lifetime_s:
            connection.close(GOING_AWAY, "24 hours")
        elif now_s >= connection.next_ping_s:
            connection.next_ping_s = now_s + self.rules.ping_interval_s
            connection.ping(str(int(now_s * 1_000)).encode(), now_s)
            connection.flush(now_s)
