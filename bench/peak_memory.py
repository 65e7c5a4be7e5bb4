"""Peak memory of a process and its descendants together."""

from __future__ import annotations

import threading
from types import TracebackType

import psutil

EVERY_S = 0.1


class PeakMemory:
    """Samples memory ten times per second while its block runs; shared pages count per process."""

    def __init__(self, process: psutil.Process) -> None:
        self.mib = 0
        self._process = process
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._is_over.wait(EVERY_S):
            self.mib = max(self.mib, self._now())

    def _now(self) -> int:
        total = 0
        for process in [self._process, *self._process.children(recursive=True)]:
            try:
                total += process.memory_info().rss
            except psutil.NoSuchProcess:
                continue  # it ended after the listing
        return total // 2**20
