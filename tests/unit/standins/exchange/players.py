"""A playback whose clock and sockets the test controls."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from standins.exchange.config import ExchangeConfig
from standins.exchange.connections import Connection, ConnectionHub
from standins.exchange.frame_source import FrameSource, SyntheticSource
from standins.exchange.playback import Playback
from standins.exchange.request_weights import WeightLimiter
from tests.unit.standins.exchange.markets import small


class FakeSocket(asyncio.Transport):
    """Records what is written; `backlog` is the number of bytes that the client has not read."""

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
        """Return (opcode, payload) of every written frame."""
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

    def __init__(self, document: dict[str, Any], source: FrameSource | None = None) -> None:
        self.config = ExchangeConfig.model_validate(document)
        self.now_s = 1_000.0
        self.hub = ConnectionHub(self.config.websocket, self.clock)
        self.limiter = WeightLimiter(self.config.rest, self.clock)
        self.playback = Playback(
            self.config,
            source or SyntheticSource(small()),
            hub=self.hub,
            limiter=self.limiter,
            clock=self.clock,
            wall_us=self.wall_us,
        )

    def clock(self) -> float:
        return self.now_s

    def wall_us(self) -> int:
        return 1_795_000_000_000_000 + int(self.now_s * 1_000_000)

    def connect(self, *streams: str, is_combined: bool = True, is_micro: bool = False) -> tuple[Connection, FakeSocket]:
        socket = FakeSocket()
        connection = self.hub.open(socket, is_combined=is_combined, is_micro=is_micro)
        self.hub.subscribe(connection, streams)
        self.playback.client_activity("subscription")
        return connection, socket

    def run(self, wall_s: float, every_s: float = 0.05) -> None:
        for _ in range(round(wall_s / every_s)):
            self.now_s += every_s
            self.playback.step()
            self.hub.keep_alive()

    def answer_pings(self, connection: Connection, socket: FakeSocket) -> None:
        for opcode, payload in socket.frames():
            if opcode == 0x9:
                connection.receive_pong(payload)
