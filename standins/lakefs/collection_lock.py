"""The lock between garbage collection and the operations that build on old objects."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class CollectionLock:
    """Either many holders share the lock, or garbage collection holds it exclusively.

    A shared holder may wait for a webhook that calls this server again. So a waiting exclusive
    holder never blocks new shared holders.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._shared = 0

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Hold the lock together with other shared holders."""
        with self._condition:
            self._shared += 1
        try:
            yield
        finally:
            with self._condition:
                self._shared -= 1
                self._condition.notify_all()

    @contextmanager
    def exclusive(self, timeout_s: float) -> Iterator[bool]:
        """Hold the lock exclusively and yield True.

        Yield False when shared holders kept it all the time.
        """
        with self._condition:
            # The condition is held while the block runs, so new shared holders wait. The block must
            # be short.
            yield self._condition.wait_for(lambda: not self._shared, timeout_s)
