"""The cache of downloaded and built files, shared by every home of this user.

A folder is filled beside its final place and renamed when it is complete, so an interrupted
download never looks like a finished one.
"""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from common.settings import cache_dir


def cached_folder(target: Path, fill: Callable[[Path], None], lock: str = "writer") -> Path:
    """Return a cache folder; when it does not exist yet, fill it completely or not at all.

    Args:
        target: The folder.
        fill: Writes the content into the partial folder that it is given.
        lock: Only one process at a time fills under the same lock. All Maven downloads share the
            default lock; a Go build takes minutes and has its own.
    """
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with _locked_cache(lock):
        if target.is_dir():  # another process filled it while we waited for the lock
            return target
        partial = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        try:
            fill(partial)
            partial.chmod(0o755)
            partial.replace(target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return target


@contextmanager
def _locked_cache(lock: str) -> Iterator[None]:
    # Maven's local repository breaks when two processes write to it at the same time.
    cache_dir().mkdir(parents=True, exist_ok=True)
    with (cache_dir() / f"{lock}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
