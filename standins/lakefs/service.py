"""The stand-in: its parts wired together, and the worker threads for their blocking work."""

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

from common.errors import ConfigurationError
from standins.lakefs.actions import Actions
from standins.lakefs.blocks import BlockStore
from standins.lakefs.branch_history import BranchHistory
from standins.lakefs.database import MetadataDatabase
from standins.lakefs.diffs import ReferenceDiffs
from standins.lakefs.garbage_collection import GarbageCollector
from standins.lakefs.git_store import GitStore
from standins.lakefs.model import Core
from standins.lakefs.multipart import Multipart
from standins.lakefs.objects import LakeObjects
from standins.lakefs.references import References
from standins.lakefs.trees import Trees

P = ParamSpec("P")
T = TypeVar("T")

# A few threads overlap their waits for the disk; more would only compete for the interpreter.
DATA_THREADS = 6
# Commits and merges have a pool of their own: they may wait a minute for a webhook, and that
# webhook may read from this server.
HISTORY_THREADS = 8


@dataclass(frozen=True)
class KeyPair:
    """The only credentials of the server."""

    access_key_id: str
    secret_access_key: str


class LakeFsStandIn:
    """One stand-in on one data folder.

    Args:
        data: Folder of the metadata file; a lock keeps a second server out.
        make_blocks: Opens the block store, which holds the bytes of objects.
        keys: The credentials that every request needs.

    Raises:
        ConfigurationError: Another server uses the data folder, or its blocks are in another store.
    """

    def __init__(self, data: Path, make_blocks: Callable[[], BlockStore], keys: KeyPair) -> None:
        # Lock first: opening the block store deletes its temporary files.
        self._lock = _lock_folder(data)
        blocks = make_blocks()
        _check_block_store(data, blocks)
        self.keys = keys
        database = MetadataDatabase(data / "metadata.sqlite3")
        git = GitStore(database)
        self.core = Core(database, git, Trees(git), blocks, time.time)
        self.references = References(self.core)
        self.objects = LakeObjects(self.core, self.references)
        self.actions = Actions(self.core, self.objects)
        self.history = BranchHistory(self.core, self.references, self.objects, self.actions)
        self.diffs = ReferenceDiffs(self.core, self.references, self.objects, self.history)
        self.collector = GarbageCollector(self.core, self.history)
        self.multipart = Multipart(self.core, self.objects)
        self.data_pool = ThreadPoolExecutor(DATA_THREADS, thread_name_prefix="data")
        self._history_pool = ThreadPoolExecutor(HISTORY_THREADS, thread_name_prefix="history")

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a blocking call that reads or writes objects and refs."""
        return await asyncio.get_running_loop().run_in_executor(self.data_pool, lambda: call(*args, **kwargs))

    async def run_history(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a blocking call that moves a branch and may wait for hooks."""
        return await asyncio.get_running_loop().run_in_executor(self._history_pool, lambda: call(*args, **kwargs))

    def close(self) -> None:
        """Wait for running calls and close the metadata file."""
        self.collector.stop()
        self.data_pool.shutdown()
        self._history_pool.shutdown()
        self.core.database.close()
        self._lock.close()


def _check_block_store(data: Path, blocks: BlockStore) -> None:
    """Refuse a block store other than the one that holds this folder's blocks.

    With another store every object would be missing.
    """
    note = data / "block-store"
    if not note.exists():
        is_old = (data / "metadata.sqlite3").exists()
        note.write_text("local" if is_old else blocks.place)
    kept = note.read_text()
    if kept != blocks.place:
        raise ConfigurationError(
            f"The blocks of {data} are in the block store {kept}, not in {blocks.place}.",
            safe="Nothing was started; its data is unchanged.",
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
            safe="Its data is unchanged.",
            next_command="stop it, or pass another --data",
        ) from error
    os.set_inheritable(handle.fileno(), False)
    return handle
