"""Run sessions until a stop: after an error a new one begins from what is stored."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable

import structlog

from common.errors import TransientError
from producer.signals import STOP_SIGNALS

# Pause after an error; it doubles up to the second value.
PAUSE_S, MOST_PAUSE_S = 0.5, 15.0

log = structlog.get_logger("notifications")

Session = Callable[[asyncio.Event], Awaitable[None]]


async def run_sessions(session: Session) -> None:
    """Run sessions until SIGTERM or SIGINT.

    Args:
        session: Runs until the event is set, or raises a `TransientError`.
    """
    stop = asyncio.Event()
    for number in STOP_SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        await repeat(session, stop)
    finally:
        for number in STOP_SIGNALS:
            asyncio.get_running_loop().remove_signal_handler(signal.Signals(number))


async def repeat(session: Session, stop: asyncio.Event) -> None:
    """Run sessions until the event is set."""
    pause_s = PAUSE_S
    while not stop.is_set():
        began = asyncio.get_running_loop().time()
        try:
            await session(stop)
        except TransientError as error:
            if asyncio.get_running_loop().time() - began > MOST_PAUSE_S:
                pause_s = PAUSE_S  # it worked for a while
            log.warning("waiting", error=str(error), pause_s=pause_s)
            await wait(stop, pause_s)
            pause_s = min(2 * pause_s, MOST_PAUSE_S)


async def wait(stop: asyncio.Event, seconds: float) -> None:
    """Wait until the event is set, at most some seconds."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
