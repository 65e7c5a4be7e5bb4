"""libgit2 over the metadata file: git blobs, trees and commits live in the `objects` table.

libgit2 gives tree diff, merge base and history walk; the backend below only fetches and keeps objects. New objects
wait in memory and are written in the same SQLite transaction as the ref that needs them, so no crash can leave a
branch pointing at a tree that is not there.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pygit2

from stack.lakefs.database import Database

COMMIT = int(pygit2.enums.ObjectType.COMMIT)
TREE = int(pygit2.enums.ObjectType.TREE)
BLOB = int(pygit2.enums.ObjectType.BLOB)

NAMES = {COMMIT: b"commit", TREE: b"tree", BLOB: b"blob"}

Pending = dict[bytes, tuple[int, bytes]]


def object_id(kind: int, data: bytes) -> bytes:
    """Return the git id of an object."""
    return hashlib.sha1(b"%b %d\0%b" % (NAMES[kind], len(data), data), usedforsecurity=False).digest()


class _Backend(pygit2.OdbBackend):
    """Object database backend of one thread: pending objects first, then SQLite."""

    def __init__(self, database: Database) -> None:
        super().__init__()
        self._database = database
        self.pending: Pending = {}

    def fetch(self, oid: bytes) -> tuple[int, bytes]:
        """Return (type, content) of an object.

        Raises:
            KeyError: There is no such object.
        """
        found = self._find(oid)
        if found is None:
            raise KeyError(oid.hex())
        return found

    def _find(self, oid: bytes) -> tuple[int, bytes] | None:
        found = self.pending.get(oid)
        if found is None:
            query = "SELECT type, data FROM objects WHERE oid = ?"
            found = self._database.reader().execute(query, (oid,)).fetchone()
        return found

    def read_cb(self, oid: pygit2.Oid) -> tuple[int, bytes]:
        return self.fetch(oid.raw)

    def read_header_cb(self, oid: pygit2.Oid) -> tuple[int, int]:
        kind, data = self.read_cb(oid)
        return kind, len(data)

    def read_prefix_cb(self, oid: pygit2.Oid) -> tuple[int, bytes]:
        raise KeyError(str(oid))

    def exists_cb(self, oid: pygit2.Oid) -> bool:
        return self._find(oid.raw) is not None

    def refresh_cb(self) -> None:
        """Do nothing: SQLite is read afresh each time."""


class GitStore:
    """Reads and stages git objects; one libgit2 repository per thread, since libgit2 handles are not shared."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._local = threading.local()

    def _open(self) -> tuple[pygit2.Repository, _Backend]:
        handle: tuple[pygit2.Repository, _Backend] | None = getattr(self._local, "handle", None)
        if handle is None:
            backend = _Backend(self._database)
            odb = pygit2.Odb()
            odb.add_backend(backend, 1)
            repository = pygit2.Repository()
            repository.set_odb(odb)
            handle = (repository, backend)
            self._local.handle = handle
        return handle

    @property
    def repository(self) -> pygit2.Repository:
        """Return this thread's libgit2 repository."""
        return self._open()[0]

    def tree(self, oid: bytes) -> pygit2.Tree:
        """Return libgit2's view of a tree."""
        return self.repository[pygit2.Oid(raw=oid)].peel(pygit2.Tree)

    def read(self, oid: bytes) -> bytes:
        """Return an object's content.

        Raises:
            KeyError: There is no such object.
        """
        return self._open()[1].fetch(oid)[1]

    def write(self, kind: int, data: bytes) -> bytes:
        """Stage an object in this thread's batch and return its id.

        Not through libgit2: its write skips an object that its cache has seen, even in a batch that was dropped.
        """
        oid = object_id(kind, data)
        self._open()[1].pending[oid] = (kind, data)
        return oid

    @contextmanager
    def batch(self) -> Iterator[Pending]:
        """Yield the objects written by this thread; what was not flushed when the block ends is dropped."""
        pending = self._open()[1].pending
        try:
            yield pending
        finally:
            pending.clear()

    @staticmethod
    def flush(connection: sqlite3.Connection, pending: Pending) -> None:
        """Write staged objects inside the caller's transaction."""
        rows = [(oid, kind, data) for oid, (kind, data) in pending.items()]
        connection.executemany("INSERT OR IGNORE INTO objects VALUES (?, ?, ?)", rows)
