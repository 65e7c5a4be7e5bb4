"""Client connections: their subscriptions, and the frames queued for them.

Server frames are written directly to the transport, with one write per batch. That takes a third of
the CPU of one aiohttp call per frame. The frames are unmasked and unfragmented (RFC 6455, 5.2), so
they mix safely with those that aiohttp writes itself.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterable

from standins.exchange.config import WebSocketRules
from standins.exchange.frame_source import PlayedFrame
from standins.exchange.ws_protocol import (
    INVALID_REQUEST,
    ClientMessage,
    ProtocolError,
    is_on_route,
    parse_request,
    property_of,
    stream_names,
    success,
)

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA

# Close codes of RFC 6455: going away (24 h limit, shutdown) and policy violation (message limit).
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
    """Return an event inside the envelope of a combined stream."""
    return f'{{"stream":"{stream}","data":{data}}}'


class Connection:
    """One WebSocket connection.

    Args:
        number: Counts up from 1.
        transport: Receives the bytes; nothing else buffers them.
        is_combined: Whether events have an envelope; SET_PROPERTY changes it.
        is_micro: Whether the URL asked for microseconds.
        opened_at_s: Monotonic seconds.
        serves: Whether the address sends a stream; other streams can be subscribed, but send
            nothing.
    """

    def __init__(
        self,
        number: int,
        transport: asyncio.Transport,
        *,
        is_combined: bool,
        is_micro: bool,
        opened_at_s: float,
        serves: Callable[[str], bool] = lambda _: True,
    ) -> None:
        self.number = number
        self.transport = transport
        self.is_combined = is_combined
        self.is_micro = is_micro
        self.opened_at_s = opened_at_s
        self.serves = serves
        self.streams: dict[str, None] = {}
        self.out: list[bytes] = []
        self.frozen_until_s = 0.0
        self.close_at_s = float("inf")
        self.closed_at_s: float | None = None
        self.next_ping_s = 0.0
        self.pending_pings: dict[bytes, float] = {}
        self.read_checks: dict[bytes, Callable[[], None]] = {}
        self.message_times_s: deque[float] = deque()

    @property
    def is_open(self) -> bool:
        """Return whether the client can still receive bytes."""
        return self.closed_at_s is None and not self.transport.is_closing()

    def is_frozen(self, now_s: float) -> bool:
        """Return whether the connection acts as half open: it receives nothing and stays open."""
        return now_s < self.frozen_until_s

    def text(self, payload: str) -> None:
        """Queue a text frame: a response, or an event without envelope."""
        self.out.append(encode(TEXT, payload.encode()))

    def flush(self, now_s: float) -> None:
        """Write all queued frames at once; a half-open connection loses them."""
        if self.out and self.is_open and not self.is_frozen(now_s):
            self.transport.write(b"".join(self.out))
        self.out.clear()

    def backlog(self) -> int:
        """Return how many bytes the client has not read yet."""
        return self.transport.get_write_buffer_size() if self.is_open else 0

    def ping(self, payload: bytes, now_s: float) -> None:
        """Queue a ping; its pong must repeat the payload."""
        self.pending_pings[payload] = now_s
        self.out.append(encode(PING, payload))

    def check_read(self, payload: bytes, on_pong: Callable[[], None]) -> None:
        """Queue a ping whose pong proves that the client read everything before it."""
        self.read_checks[payload] = on_pong
        self.out.append(encode(PING, payload))

    def receive_pong(self, payload: bytes) -> bool:
        """Handle a pong and return whether it belongs to one of our pings."""
        if (on_pong := self.read_checks.pop(payload, None)) is not None:
            on_pong()
            return True
        if payload not in self.pending_pings:
            return False
        # A pong also confirms every earlier ping (RFC 6455, 5.5.3).
        sent_s = self.pending_pings[payload]
        self.pending_pings = {key: at for key, at in self.pending_pings.items() if at > sent_s}
        return True

    def close(self, code: int, reason: str) -> None:
        """Send a close frame with a reason and close the connection."""
        if self.is_open:
            self.transport.write(encode(CLOSE, code.to_bytes(2, "big") + reason.encode()))
            self.transport.close()

    def cut(self) -> None:
        """Close without a close frame; the client loses what it has not read."""
        self.transport.abort()


class ConnectionHub:
    """All connections, and the delivery of events to them.

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

    def open(self, transport: asyncio.Transport, *, is_combined: bool, is_micro: bool, route: str = "") -> Connection:
        """Register a new connection.

        `route` is "public", "market", or empty for an address without route.
        """
        self.opened += 1
        now_s = self.clock()
        connection = Connection(
            self.opened, transport, is_combined=is_combined, is_micro=is_micro, opened_at_s=now_s,
            serves=(lambda name: is_on_route(name, route)) if self.rules.routed else (lambda _: True),
        )  # fmt: skip
        connection.next_ping_s = now_s + self.rules.ping_interval_s
        self.open_connections[connection.number] = connection
        return connection

    def closed(self, connection: Connection) -> None:
        """Remove a closed connection."""
        connection.closed_at_s = self.clock()
        self.open_connections.pop(connection.number, None)
        self.unsubscribe(connection, list(connection.streams))

    def subscribe(self, connection: Connection, names: Iterable[str]) -> None:
        """Subscribe a connection to streams; an existing subscription is no error."""
        for name in names:
            if name not in connection.streams:
                connection.streams[name] = None
                if connection.serves(name):
                    self.by_stream.setdefault(name, []).append(connection)
                self.ever_subscribed[name] = None

    def unsubscribe(self, connection: Connection, names: Iterable[str]) -> None:
        """Unsubscribe a connection from streams; a missing subscription is no error."""
        for name in names:
            if name in connection.streams:
                del connection.streams[name]
                if not connection.serves(name):
                    continue
                self.by_stream[name].remove(connection)
                if not self.by_stream[name]:
                    del self.by_stream[name]

    def subscribed(self) -> list[Connection]:
        """Return the open connections with a subscription, oldest first."""
        return [c for c in self.open_connections.values() if c.streams and c.is_open]

    def units(self, is_all_micro: bool) -> set[int]:
        """Return the time units that clients read: 1 for microseconds, 1,000 for milliseconds."""
        return {1 if is_all_micro or c.is_micro else 1_000 for c in self.open_connections.values() if c.streams}

    def deliver(self, frames: Iterable[PlayedFrame], unit: int, is_all_micro: bool) -> int:
        """Queue events for all subscribers that read this unit.

        Return how many had a subscriber.
        """
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
        """Write all queued frames, with one write per connection."""
        now_s = self.clock()
        for connection in self.open_connections.values():
            connection.flush(now_s)

    def backlog(self) -> int:
        """Return the largest backlog of any client, in bytes."""
        return max((c.backlog() for c in self.open_connections.values()), default=0)

    def count_message(self, connection: Connection, *, is_asked_for: bool = False) -> bool:
        """Count a client message; close the connection and return False after too many in a second.

        As at Binance, pings and pongs count, except the pongs to our pings.
        """
        if is_asked_for:
            return True
        now_s = self.clock()
        times = connection.message_times_s
        times.append(now_s)
        while times[0] <= now_s - 1.0:
            times.popleft()
        if len(times) <= self.rules.messages_per_s:
            return True
        connection.close(POLICY, "Too many requests")
        return False

    def respond(self, connection: Connection, text: str | bytes) -> None:
        """Respond to a client message; a response never has an envelope."""
        try:
            request = parse_request(text)
            connection.text(success(self._apply(connection, request), request.request_id))
        except ProtocolError as error:
            connection.text(error.response())
        connection.flush(self.clock())

    def _apply(self, connection: Connection, request: ClientMessage) -> object:
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
        """Send due pings, cut unresponsive clients, close connections that are too old."""
        now_s = self.clock()
        for connection in list(self.open_connections.values()):
            if connection.is_frozen(now_s):
                continue
            self._keep_alive(connection, now_s)

    def _keep_alive(self, connection: Connection, now_s: float) -> None:
        oldest_s = min(connection.pending_pings.values(), default=now_s)
        if now_s - oldest_s > self.rules.pong_timeout_s:
            connection.cut()
        elif now_s >= connection.close_at_s:
            connection.close(GOING_AWAY, "shutdown")
        elif now_s - connection.opened_at_s > self.rules.lifetime_s:
            connection.close(GOING_AWAY, "24 hours")
        elif now_s >= connection.next_ping_s:
            connection.next_ping_s = now_s + self.rules.ping_interval_s
            connection.ping(str(int(now_s * 1_000)).encode(), now_s)
            connection.flush(now_s)
