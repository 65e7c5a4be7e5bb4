"""libgit2 over the metadata file: git blobs, trees and commits are rows of table `objects`.

libgit2 computes tree diffs and merge bases; the backend below only reads and stores objects. New
objects wait in memory and are written in the same SQLite transaction as the ref that needs them, so
a crash cannot leave a branch that points to a missing tree.

A commit usually changes a few entries of a folder with thousands. So a large tree is stored as its
difference from the tree that it was made from (`DELTA`), with at most `LONGEST_CHAIN` differences
in a row. The cost of a commit then follows its changes and not the size of the folder. Complete
objects are compressed (`PACKED`). Ids are those of the complete objects, as in git.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pygit2

from standins.lakefs.database import MetadataDatabase
from standins.lakefs.tree_objects import RawTree, apply_changes, parse, serialize

COMMIT = int(pygit2.enums.ObjectType.COMMIT)
TREE = int(pygit2.enums.ObjectType.TREE)
BLOB = int(pygit2.enums.ObjectType.BLOB)

NAMES = {COMMIT: b"commit", TREE: b"tree", BLOB: b"blob"}

# Storage flags, added to the kind of an object: compressed with zlib, or a difference (id of the
# base, length of the chain, compressed rows).
PACKED, DELTA = 0x10, 0x20
KIND = 0x0F
# Smaller objects gain nothing from either.
SMALLEST_PACKED = 256
SMALLEST_DELTA = 512
# A read follows at most this many differences; the next tree is stored complete again.
LONGEST_CHAIN = 16
_HEADER = 21


class StagedObject(NamedTuple):
    """An object that waits to be written: its kind and content, and its stored form."""

    kind: int
    data: bytes
    stored: int
    row: bytes


Pending = dict[bytes, StagedObject]


def object_id(kind: int, data: bytes) -> bytes:
    """Return the git id of an object."""
    return hashlib.sha1(b"%b %d\0%b" % (NAMES[kind], len(data), data), usedforsecurity=False).digest()


class _Backend(pygit2.OdbBackend):
    """The object database of one thread: pending objects first, then SQLite."""

    def __init__(self, database: MetadataDatabase) -> None:
        super().__init__()
        self._database = database
        self.pending: Pending = {}

    def fetch(self, oid: bytes) -> tuple[int, bytes]:
        """Return (kind, content) of an object.

        Raises:
            KeyError: There is no such object.
        """
        staged = self.pending.get(oid)
        if staged is not None:
            return staged.kind, staged.data
        stored, row = self.stored(oid)
        if stored & DELTA:
            return TREE, serialize(self.entries(oid))
        return stored & KIND, zlib.decompress(row) if stored & PACKED else row

    def stored(self, oid: bytes) -> tuple[int, bytes]:
        """Return the stored form of an object: its kind with storage flags, and the row.

        Raises:
            KeyError: There is no such object.
        """
        staged = self.pending.get(oid)
        if staged is not None:
            return staged.stored, staged.row
        query = "SELECT type, data FROM objects WHERE oid = ?"
        found: tuple[int, bytes] | None = self._database.reader().execute(query, (oid,)).fetchone()
        if found is None:
            raise KeyError(oid.hex())
        return found

    def entries(self, oid: bytes) -> RawTree:
        """Return the entries of a tree without serializing it.

        Raises:
            KeyError: There is no such object.
        """
        changes = []
        stored, row = self.stored(oid)
        while stored & DELTA:
            changes.append(parse(zlib.decompress(row[_HEADER:])))
            stored, row = self.stored(row[:20])
        entries = parse(zlib.decompress(row) if stored & PACKED else row)
        for change in reversed(changes):
            apply_changes(entries, change)
        return entries

    def chain(self, oid: bytes) -> int:
        """Return how many differences lie between a tree and a complete one."""
        stored, row = self.stored(oid)
        return row[20] if stored & DELTA else 0

    def read_cb(self, oid: pygit2.Oid) -> tuple[int, bytes]:
        return self.fetch(oid.raw)

    def read_header_cb(self, oid: pygit2.Oid) -> tuple[int, int]:
        kind, data = self.read_cb(oid)
        return kind, len(data)

    def read_prefix_cb(self, oid: pygit2.Oid) -> tuple[int, bytes]:
        raise KeyError(str(oid))

    def exists_cb(self, oid: pygit2.Oid) -> bool:
        return self.has(oid.raw)

    def has(self, oid: bytes) -> bool:
        """Return whether an object exists."""
        query = "SELECT 1 FROM objects WHERE oid = ?"
        return oid in self.pending or self._database.reader().execute(query, (oid,)).fetchone() is not None

    def refresh_cb(self) -> None:
        """Do nothing: every read goes to SQLite."""


class GitStore:
    """Reads and stages git objects.

    Each thread has its own libgit2 repository, which is not thread-safe.
    """

    def __init__(self, database: MetadataDatabase) -> None:
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

        It does not use libgit2's write, which skips an object that it has seen before, even when
        that batch was dropped.
        """
        oid = object_id(kind, data)
        self._open()[1].pending[oid] = _whole(kind, data)
        return oid

    def write_tree(self, entries: RawTree, base: bytes | None, changes: RawTree) -> bytes:
        """Stage a tree and return its id.

        Args:
            entries: The tree's entries.
            base: The tree that this one was made from, if any.
            changes: The difference from the base, in the form of `apply_changes`.
        """
        data, backend = serialize(entries), self._open()[1]
        oid = object_id(TREE, data)
        if backend.has(oid):  # otherwise a tree could be stored as a difference from itself
            return oid
        staged = _whole(TREE, data)
        if base and len(data) >= SMALLEST_DELTA and (chain := backend.chain(base)) < LONGEST_CHAIN:
            row = base + bytes([chain + 1]) + zlib.compress(serialize(changes), 1)
            if len(row) < len(staged.row) // 2:
                staged = StagedObject(TREE, data, TREE | DELTA, row)
        backend.pending[oid] = staged
        return oid

    def tree_entries(self, oid: bytes) -> RawTree:
        """Return the entries of a tree.

        Raises:
            KeyError: There is no such tree.
        """
        return self._open()[1].entries(oid)

    @contextmanager
    def batch(self) -> Iterator[Pending]:
        """Yield the objects that this thread writes.

        Those not flushed when the block ends are dropped.
        """
        pending = self._open()[1].pending
        try:
            yield pending
        finally:
            pending.clear()

    @staticmethod
    def flush(connection: sqlite3.Connection, pending: Pending) -> None:
        """Write staged objects inside the caller's transaction."""
        rows = [(oid, staged.stored, staged.row) for oid, staged in pending.items()]
        connection.executemany("INSERT OR IGNORE INTO objects VALUES (?, ?, ?)", rows)


def _whole(kind: int, data: bytes) -> StagedObject:
    if len(data) < SMALLEST_PACKED or kind == BLOB:  # SQL reads the pointers, so they stay plain JSON
        return StagedObject(kind, data, kind, data)
    return StagedObject(kind, data, kind | PACKED, zlib.compress(data, 1))


def parts_of(stored: int, row: bytes) -> tuple[bytes | None, RawTree]:
    """Return the base of a stored tree (None when complete) and its entries (`NO_OID`: removed)."""
    if stored & DELTA:
        return row[:20], parse(zlib.decompress(row[_HEADER:]))
    return None, parse(zlib.decompress(row) if stored & PACKED else row)
