"""The stand-in's parts, wired together, and the worker threads that do their blocking work."""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, ParamSpec, TypeVar

from stack.lakefs.actions import Actions
from stack.lakefs.blocks import BlockStore
from stack.lakefs.comparing import Comparisons
from stack.lakefs.database import Database
from stack.lakefs.gitstore import GitStore
from stack.lakefs.history import History
from stack.lakefs.model import Core
from stack.lakefs.multipart import Multipart
from stack.lakefs.objects import Objects
from stack.lakefs.references import References
from stack.lakefs.trees import Trees
from tickhouse.errors import ConfigurationError

P = ParamSpec("P")
T = TypeVar("T")

# Two cores here: a few threads overlap disk waits, more would only fight for the interpreter.
DATA_THREADS = 6
# Commits and merges may wait for a webhook for a minute, and that webhook may read from us: a pool of their own.
HISTORY_THREADS = 8


@dataclass(frozen=True)
class Keys:
    """The one credential pair."""

    access_key_id: str
    secret_access_key: str


class Service:
    """One stand-in over one data folder.

    Args:
        data: Folder of the metadata file; locked against a second server.
        make_blocks: Opens the block store, where the bytes go.
        keys: The credentials every request must show.

    Raises:
        ConfigurationError: Another server holds the data folder.
    """

    def __init__(self, data: Path, make_blocks: Callable[[], BlockStore], keys: Keys) -> None:
        # The lock comes first: opening the block store clears its temporary files.
        self._lock = _lock_folder(data)
        blocks = make_blocks()
        _check_block_store(data, blocks)
        self.keys = keys
        database = Database(data / "metadata.sqlite3")
        git = GitStore(database)
        self.core = Core(database, git, Trees(git), blocks, time.time)
        self.references = References(self.core)
        self.objects = Objects(self.core, self.references)
        self.actions = Actions(self.core, self.objects)
        self.history = History(self.core, self.references, self.objects, self.actions)
        self.comparisons = Comparisons(self.core, self.objects)
        self.multipart = Multipart(self.core, self.objects)
        self.data_pool = ThreadPoolExecutor(DATA_THREADS, thread_name_prefix="data")
        self._history_pool = ThreadPoolExecutor(HISTORY_THREADS, thread_name_prefix="history")

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a blocking read or write of objects and refs."""
        return await asyncio.get_running_loop().run_in_executor(self.data_pool, lambda: call(*args, **kwargs))

    async def run_history(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run what moves a branch and may wait for hooks."""
        return await asyncio.get_running_loop().run_in_executor(self._history_pool, lambda: call(*args, **kwargs))

    def close(self) -> None:
        """Finish running work and close the metadata file."""
        self.data_pool.shutdown()
        self._history_pool.shutdown()
        self.core.database.close()
        self._lock.close()


def _check_block_store(data: Path, blocks: BlockStore) -> None:
    """Refuse another block store than the one that holds this folder's blocks: every object would be missing."""
    note = data / "block-store"
    if not note.exists():
        is_old = (data / "metadata.sqlite3").exists()
        note.write_text("local" if is_old else blocks.place)
    kept = note.read_text()
    if kept != blocks.place:
        raise ConfigurationError(
            f"The blocks of {data} are in {kept}, not in {blocks.place}.",
            safe="Nothing was started; its data is untouched.",
            next_command=f"start it with the block store {kept}, or pass another --data",
        )


def _lock_folder(data: Path) -> IO[bytes]:
    data.mkdir(parents=True, exist_ok=True)
    handle = (data / "lock").open("ab")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        handle.close()
        raise ConfigurationError(
            f"Another lakeFS stand-in already runs on {data}.",
            safe="Its data is untouched.",
            next_command="stop it, or pass another --data",
        ) from error
    os.set_inheritable(handle.fileno(), False)
    return handle
