"""SIGTERM and SIGINT as a flag: finish the batch, flush, snapshot, leave."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def stop_flag() -> Iterator[Callable[[], bool]]:
    """Yield a function that says whether a stop was asked for; the former handlers come back at the end."""
    asked: list[int] = []

    def ask(number: int, _: FrameType | None) -> None:
        asked.append(number)

    former = {number: signal.signal(number, ask) for number in STOP_SIGNALS}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
