"""A POSIX lock on a whole file; the kernel releases it when its holder ends, even after a kill."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import IO


def try_lock(file: IO[bytes]) -> bool:
    """Take the exclusive lock of a file that is open for writing; return whether we have it now.

    The lock belongs to this process. It ends when the process closes any handle of the file.
    """
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def is_locked(path: Path) -> bool:
    """Return whether another process holds the lock of a file; false when there is no file."""
    try:
        with path.open("rb+") as file:
            return not try_lock(file)
    except FileNotFoundError:
        return False
