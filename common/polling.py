"""Wait for something outside the process. All loops that do so use one of these functions.

`poll_until` has a fixed time limit. `poll_while_moving` waits as long as there is progress, because
a slow machine is not a broken one. Both probe once before they sleep, and once more at the
deadline. Clock and sleep are arguments, so that tests need no real time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypeVar

from common.errors import TransientError

T = TypeVar("T")

POLL_EVERY_S: Final = 0.5


def poll_until(
    probe: Callable[[], T],
    timeout_s: float,
    *,
    every_s: float = POLL_EVERY_S,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """Call `probe` until it returns something true or the time is over; return its last result.

    The caller tests the result and raises its own error, which can name what was missing.
    Exceptions of `probe` are not caught.

    Args:
        probe: Returns a true value once the awaited condition holds.
        timeout_s: Time limit in seconds; 0 probes once, `math.inf` never gives up.
        every_s: Pause between two probes in seconds.
        clock: Returns a time in seconds that never goes back.
        sleep: Waits for the given seconds.
    """
    deadline = clock() + timeout_s
    while True:
        result = probe()
        if result or clock() >= deadline:
            return result
        sleep(every_s)


def poll_while_moving(
    probe: Callable[[], tuple[T, object]],
    stalled_s: float,
    *,
    on_stall: Callable[[TransientError | None], Exception],
    every_s: float = POLL_EVERY_S,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """Call `probe` until its result is true, and return that; each progress moves the deadline.

    A probe that raises `TransientError` is repeated and counts as no progress.

    Args:
        probe: Returns (result, progress). `progress` is any value that changes with each step
            forward, such as a count.
        stalled_s: Give up after this many seconds without progress.
        on_stall: Returns the error to raise then. It receives the error of the last probe, or None.
        every_s: Pause between two probes in seconds.
        clock: Returns a time in seconds that never goes back.
        sleep: Waits for the given seconds.
    """
    last_progress: object = None
    moved_at = clock()
    while True:
        problem: TransientError | None = None
        try:
            result, progress = probe()
        except TransientError as error:
            problem = error
        else:
            if result:
                return result
            if progress != last_progress:
                last_progress, moved_at = progress, clock()
        if clock() - moved_at >= stalled_s:
            raise on_stall(problem) from problem
        sleep(every_s)
