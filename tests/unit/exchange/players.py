"""A playback with clocks and sockets that the test holds in its hands."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from stack.exchange.config import ExchangeConfig
from stack.exchange.connections import Connection, Hub
from stack.exchange.limits import WeightLimiter
from stack.exchange.playback import Playback
from stack.exchange.tape import SyntheticTape, Tape
from tests.unit.exchange.markets import small


class Socket(asyncio.Transport):
    """Keeps what is written; `backlog` is what the client is said not to have taken."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.backlog = 0
        self.ended = ""

    def write(self, data: Any) -> None:
        self.written += data

    def get_write_buffer_size(self) -> int:
        return self.backlog

    def is_closing(self) -> bool:
        return bool(self.ended)

    def close(self) -> None:
        self.ended = self.ended or "closed"

    def abort(self) -> None:
        self.ended = self.ended or "aborted"

    def frames(self) -> list[tuple[int, bytes]]:
        """Return (opcode, payload) of every whole frame written."""
        found, data = [], bytes(self.written)
        while data:
            opcode, size, start = data[0] & 0x0F, data[1], 2
            if size == 126:
                size, start = int.from_bytes(data[2:4], "big"), 4
            elif size == 127:
                size, start = int.from_bytes(data[2:10], "big"), 10
            found.append((opcode, data[start : start + size]))
            data = data[start + size :]
        return found

    def texts(self) -> list[Any]:
        return [json.loads(payload) for opcode, payload in self.frames() if opcode == 1]


class Player:
    """A playback that is stepped by hand: `run(2.0)` passes two wall seconds."""

    def __init__(self, document: dict[str, Any], tape: Tape | None = None) -> None:
        self.config = ExchangeConfig.model_validate(document)
        self.now_s = 1_000.0
        self.hub = Hub(self.config.websocket, self.clock)
        self.limiter = WeightLimiter(self.config.rest, self.clock)
        self.playback = Playback(
            self.config,
            tape or SyntheticTape(small()),
            hub=self.hub,
            limiter=self.limiter,
            clock=self.clock,
            wall_us=self.wall_us,
        )

    def clock(self) -> float:
        return self.now_s

    def wall_us(self) -> int:
        return 1_795_000_000_000_000 + int(self.now_s * 1_000_000)

    def connect(self, *streams: str, is_combined: bool = True, is_micro: bool = False) -> tuple[Connection, Socket]:
        socket = Socket()
        connection = self.hub.open(socket, is_combined=is_combined, is_micro=is_micro)
        self.hub.subscribe(connection, streams)
        self.playback.noticed("subscription")
        return connection, socket

    def run(self, wall_s: float, every_s: float = 0.05) -> None:
        for _ in range(round(wall_s / every_s)):
            self.now_s += every_s
            self.playback.step()
            self.hub.keep_alive()

    def answer_pings(self, connection: Connection, socket: Socket) -> None:
        for opcode, payload in socket.frames():
            if opcode == 0x9:
                connection.heard_pong(payload)
