"""Read each store again and again, so that a scrape only takes what is there.

Each store has a thread of its own. It pauses after each read for at least `SHORTEST_PAUSE_S`, and
for `PAUSE_FACTOR` times as long as the read took, up to `LONGEST_PAUSE_S`: a store that answers
slowly is asked less often, and a read takes at most a fortieth of the time. A store that does not
answer holds its own thread only. When its figures are too old, they are left out and the store
counts as down.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import structlog

from common.errors import TickhouseError
from tickhouse.metrics.figures import Figure

SHORTEST_PAUSE_S = 10.0
LONGEST_PAUSE_S = 300.0
PAUSE_FACTOR = 40.0
# A read that takes longer than this counts as failed.
MOST_READ_S = 20.0

Read = Callable[[], Iterable[Figure]]
log = structlog.get_logger("metrics")


@dataclass(frozen=True, slots=True)
class Reading:
    """The result of one read.

    Attributes:
        at_s: When it ended, on the monotonic clock.
        took_s: How long it took.
        figures: What was read; empty when it failed.
        error: Why it failed; empty when it succeeded.
    """

    at_s: float
    took_s: float
    figures: tuple[Figure, ...] = ()
    error: str = ""

    @property
    def pause_s(self) -> float:
        """Return how long to wait until the next read."""
        return min(max(SHORTEST_PAUSE_S, PAUSE_FACTOR * self.took_s), LONGEST_PAUSE_S)

    def is_fresh(self, now_s: float) -> bool:
        """Return whether the next read is not overdue."""
        return now_s - self.at_s <= self.pause_s + MOST_READ_S


class StoreReader:
    """Reads one store in a thread until it is stopped.

    Args:
        name: The store.
        read: Returns its figures, or raises a `TickhouseError`.
        is_store: Whether it counts as a store; otherwise it has no metric of its own.
    """

    def __init__(self, name: str, read: Read, *, is_store: bool = True) -> None:
        self.name, self._read, self._is_store = name, read, is_store
        self._last: Reading | None = None
        self._started_s = time.monotonic()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"metrics-{name}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end after the read in work."""
        self._stopped.set()

    def figures(self, now_s: float) -> Iterator[Figure]:
        """Yield the figures of the last read, and the state of the store itself.

        Args:
            now_s: The monotonic clock.
        """
        last = self._last
        is_up = last is not None and not last.error and last.is_fresh(now_s)
        if last is not None and is_up:
            yield from last.figures
        if not self._is_store or (last is None and now_s - self._started_s <= MOST_READ_S):
            return  # the first read may still be under way
        yield Figure("store_up", is_up, (self.name,))
        if last is not None:
            yield Figure("store_read_seconds", last.took_s, (self.name,))
            yield Figure("store_read_age_seconds", now_s - last.at_s, (self.name,))

    def _run(self) -> None:
        while not self._stopped.is_set():
            reading = self._once()
            if reading.error and (self._last is None or self._last.error != reading.error):
                log.warning("store not read", store=self.name, error=reading.error)
            self._last = reading
            self._stopped.wait(SHORTEST_PAUSE_S if reading.error else reading.pause_s)

    def _once(self) -> Reading:
        began = time.monotonic()
        try:
            figures, error = tuple(self._read()), ""
        except TickhouseError as failure:
            figures, error = (), failure.message
        except Exception as failure:  # noqa: BLE001 - a client may raise anything; the store counts as down
            figures, error = (), f"{type(failure).__name__}: {failure}"
        now = time.monotonic()
        return Reading(now, now - began, figures, error)


class StoreReaders:
    """A reader for each enabled store; stores come and go while this process runs.

    Args:
        sources: Returns the read function of every enabled store, by name.
        local: Read functions of what is on this machine and no store.
    """

    def __init__(self, sources: Callable[[], Mapping[str, Read]], local: Mapping[str, Read]) -> None:
        self._sources = sources
        self._local = [StoreReader(name, read, is_store=False) for name, read in local.items()]
        self._readers: dict[str, StoreReader] = {}
        self._lock = threading.Lock()

    def refresh(self) -> None:
        """Start the readers of newly enabled stores, stop those of stores that no longer are."""
        with self._lock:
            wanted = self._sources()
            for name in self._readers.keys() - wanted.keys():
                self._readers.pop(name).stop()
            for name in wanted.keys() - self._readers.keys():
                self._readers[name] = StoreReader(name, wanted[name])

    def collect(self) -> list[Figure]:
        """Return the figures of all readers; asks no store."""
        now_s = time.monotonic()
        with self._lock:
            readers = [*self._readers.values(), *self._local]
        return [figure for reader in readers for figure in reader.figures(now_s)]

    def stop(self) -> None:
        """Ask every reader to end."""
        for reader in (*self._readers.values(), *self._local):
            reader.stop()
