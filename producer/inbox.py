"""The bounded buffer between sockets and encoder: frames go in one at a time, come out as batches."""

from __future__ import annotations

import asyncio

from producer.intake import Line

# 20 s of the worst second ever seen (2,466 frames/s), 30 MiB at 0.6 KiB a frame. A full inbox stops the reading of
# sockets, TCP then slows the exchange down: nothing is dropped here.
CAPACITY = 50_000


class Inbox:
    """Frames that were received and not yet encoded."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._frames: list[Line] = []
        self._capacity = capacity
        self._filled, self._drained = asyncio.Event(), asyncio.Event()

    def __len__(self) -> int:
        return len(self._frames)

    def put(self, frame: Line) -> bool:
        """Add a frame; returns whether the caller must `await room()` before the next one."""
        self._frames.append(frame)
        if len(self._frames) == 1:
            self._filled.set()
        return len(self._frames) >= self._capacity

    async def room(self) -> None:
        """Wait until there is room again."""
        while len(self._frames) >= self._capacity:
            self._drained.clear()
            await self._drained.wait()

    async def take(self) -> list[Line]:
        """Return everything that is in, waiting for the first frame."""
        while not self._frames:
            self._filled.clear()
            await self._filled.wait()
        batch, self._frames = self._frames, []
        self._drained.set()
        return batch

    def drain(self) -> list[Line]:
        """Return what is in, without waiting."""
        batch, self._frames = self._frames, []
        return batch
