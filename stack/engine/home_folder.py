"""Make the home folder and lock it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from common.errors import ConfigurationError
from common.settings import home
from stack.engine.context import logs_dir
from stack.engine.supervisor import run_dir

# A file in every home that `up` made. `down --purge` removes no folder without it.
HOME_MARK = ".tickhouse-home"
# A file in a home that `tickhouse restore` has begun to fill. It is removed when all is there.
RESTORE_MARK = "unfinished-restore.json"


@contextmanager
def locked_home() -> Iterator[None]:
    """Make the home and hold its lock, so that two `up` or `down` never run at the same time."""
    while True:
        _make_folders()
        lock = run_dir() / "lock"
        with lock.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if _is_same_file(lock, file):
                yield
                return
        # `down --purge` removed the home while we waited: make it again and lock the new file.


def refuse_unfinished_restore() -> None:
    """Refuse a home that a restore has not filled wholly.

    Raises:
        ConfigurationError: The restore was interrupted or failed.
    """
    if (home() / RESTORE_MARK).exists():
        raise ConfigurationError(
            f"The restore into {home()} is not complete.",
            safe="The backup is unchanged; nothing was started.",
            next_command="run the same tickhouse restore again, or tickhouse down --purge to remove the home",
        )


def _is_same_file(path: Path, file: IO[str]) -> bool:
    return path.exists() and path.stat().st_ino == os.fstat(file.fileno()).st_ino


def _make_folders() -> None:
    # 0711: others may pass through but not list the folder. PostgreSQL may have to run as `nobody`,
    # and its data folder is in here.
    _make_folder(home(), 0o711)
    _make_folder(home() / "data", 0o711)
    (home() / HOME_MARK).touch()
    for folder in (logs_dir(), run_dir(), home() / "conf"):
        _make_folder(folder, 0o700)


def _make_folder(folder: Path, mode: int) -> None:
    if not folder.exists():
        folder.mkdir(parents=True)
        folder.chmod(mode)  # mkdir's own mode would be reduced by the umask
