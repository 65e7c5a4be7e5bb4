"""Waits that continue while there is progress, so that a slow machine is not taken as broken."""

from __future__ import annotations

import time
from collections.abc import Callable

from common.errors import ServiceNotReady, TransientError
from common.polling import poll_while_moving


def wait_while_moving(
    look: Callable[[], tuple[bool, object]],
    stalled_s: float,
    what: str,
    next_command: str,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Call `look` until it reports the end; give up after `stalled_s` seconds without progress.

    Args:
        look: Returns (whether the wait is over, a value that changes with each progress). After a
            `TransientError` it is called again; the error counts as no progress.
        stalled_s: Give up after this many seconds without progress.
        what: What is waited for, for the error message.
        next_command: What to run after giving up.
        clock: Returns a time in seconds that never goes back.
        sleep: Waits the given seconds.

    Raises:
        ServiceNotReady: There was no progress for `stalled_s`.
    """

    def stalled(problem: TransientError | None) -> ServiceNotReady:
        cause = f" The last poll failed: {problem.message}" if problem else ""
        return ServiceNotReady(
            f"Waited for {what}; there was no progress for {stalled_s:.0f} s.{cause}",
            safe="Everything keeps running; nothing is lost.",
            next_command=next_command,
        )

    poll_while_moving(look, stalled_s, on_stall=stalled, clock=clock, sleep=sleep)
