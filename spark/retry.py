"""Wait out a store that is down, inside the query that needs it and nowhere else."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

import structlog

from tickhouse.errors import TransientError

T = TypeVar("T")
log = structlog.get_logger("spark.retry")

# 0.25 s doubles to 15 s: a restarted store is found again within one trigger, a long outage costs four tries a minute.
FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 15.0


def until_up(work: Callable[[], T], *, query: str, stop: threading.Event) -> T:
    """Call `work` until it does not raise a `TransientError`.

    The micro-batch stays open meanwhile: its offsets are not committed, so nothing is lost if the driver dies here.

    Raises:
        TransientError: The driver was asked to stop while the store was down.
    """
    pause_s = FIRST_PAUSE_S
    while True:
        try:
            return work()
        except TransientError as error:
            log.warning("store_down", query=query, cause=error.message, retry_in_s=pause_s)
            if stop.wait(pause_s):
                raise
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
