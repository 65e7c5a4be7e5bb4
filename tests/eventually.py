"""Wait for a condition instead of sleeping for a fixed time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(probe: Callable[[], T], timeout_s: float = 30.0, every_s: float = 0.2) -> T:
    """Call `probe` until it returns something true and return that.

    Raises:
        AssertionError: It returned nothing true within `timeout_s`; names the last value.
    """
    pause = threading.Event()
    deadline = time.monotonic() + timeout_s
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise AssertionError(f"Expected {probe!r} to hold within {timeout_s} s, last value was {value!r}")
        pause.wait(every_s)
