"""Stop the streaming driver and hold the lease of its checkpoints.

The lease is a POSIX lock on a whole file, the same lock that the driver's JVM takes
(`spark/checkpoints/driver_lease.py`). While this process holds it, a new driver waits. The kernel
releases it when this process ends, even after a kill.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from common.errors import LeaseHeld
from common.file_lock import is_locked, try_lock
from common.polling import poll_until

# A driver finishes its open batches first, which takes 40 s at most (spark/streaming/job.py); then
# the JVM ends.
WAIT_S: Final = 90.0
_POLL_EVERY_S: Final = 0.2


def is_held(folder: Path) -> bool:
    """Return whether a driver (or another repair) holds the lease.

    Args:
        folder: `<home>/stream`.
    """
    return is_locked(folder / "lease.lock")


@contextmanager
def stopped_driver(folder: Path, *, wait_s: float = WAIT_S) -> Iterator[bool]:
    """Stop the driver, and hold the lease meanwhile; yield whether there was a driver.

    Raises:
        LeaseHeld: The driver did not end in time; nothing was changed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stop, lock = folder / "stop", folder / "lease.lock"
    with lock.open("ab+") as file:
        had_driver = not try_lock(file)
        if had_driver:
            _stop_driver(file, stop, wait_s)
        stop.unlink(missing_ok=True)
        yield had_driver


def _stop_driver(file: IO[bytes], stop: Path, wait_s: float) -> None:
    def has_lock() -> bool:
        stop.touch()  # before every try, because a driver that ends removes the file
        return try_lock(file)

    if not poll_until(has_lock, wait_s, every_s=_POLL_EVERY_S):
        stop.unlink(missing_ok=True)
        raise LeaseHeld(
            f"The streaming driver was asked to end, but still holds {file.name}.",
            safe="No checkpoint was changed.",
            next_command="tickhouse down",
        )
