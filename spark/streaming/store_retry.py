"""Retry the batch of a query while its store is down; the other queries continue."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

import structlog

from common.errors import TransientError

T = TypeVar("T")
log = structlog.get_logger("spark.streaming.store_retry")

# The pause doubles from 0.25 s to 15 s. A store that restarts is used again within one trigger, and
# a long outage costs four tries per minute.
FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 15.0


def retry_until_up(work: Callable[[], T], *, query: str, stop: threading.Event) -> T:
    """Call `work` until it raises no `TransientError`; return its result.

    The micro-batch stays open meanwhile. Its offsets are not committed, so nothing is lost if the
    driver dies here.

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
