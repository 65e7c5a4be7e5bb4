"""The metadata file: refs, commits, staging, git objects, uploads and hook runs in SQLite.

Durability: WAL mode with `synchronous=FULL`, so a confirmed write is on disk and survives `kill -9`
and power loss. That costs about 0.2 ms per transaction; writing the data block costs 0.3 ms anyway,
so `NORMAL` would save little.

Atomicity: everything that must happen together (new trees, the commit, the branch head, the staging
rows that the commit consumed) is one transaction in one file.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SCHEMA_VERSION = 2

SCHEMA = """
CREATE TABLE repositories (
  name TEXT PRIMARY KEY, namespace TEXT NOT NULL, default_branch TEXT NOT NULL, created INTEGER NOT NULL,
  read_only INTEGER NOT NULL, metadata TEXT NOT NULL, protection TEXT NOT NULL) WITHOUT ROWID;
-- A namespace stays taken after its repository is deleted, because its blocks are not deleted.
CREATE TABLE namespaces (namespace TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE branches (
  id INTEGER PRIMARY KEY AUTOINCREMENT, repository TEXT NOT NULL REFERENCES repositories ON DELETE CASCADE,
  name TEXT NOT NULL, head TEXT NOT NULL, hidden INTEGER NOT NULL DEFAULT 0, UNIQUE (repository, name));
CREATE TABLE tags (
  repository TEXT NOT NULL REFERENCES repositories ON DELETE CASCADE, name TEXT NOT NULL, commit_id TEXT NOT NULL,
  PRIMARY KEY (repository, name)) WITHOUT ROWID;
CREATE TABLE commits (
  repository TEXT NOT NULL REFERENCES repositories ON DELETE CASCADE, id TEXT NOT NULL, git BLOB NOT NULL,
  tree BLOB NOT NULL, parents TEXT NOT NULL, generation INTEGER NOT NULL, committer TEXT NOT NULL,
  message TEXT NOT NULL, created INTEGER NOT NULL, metadata TEXT NOT NULL, PRIMARY KEY (repository, id)) WITHOUT ROWID;
CREATE INDEX commits_by_git ON commits (repository, git);
-- An entry of NULL is a tombstone. seq orders the writes, so that a commit consumes exactly the rows that it saw.
CREATE TABLE staging (
  branch INTEGER NOT NULL REFERENCES branches ON DELETE CASCADE, path TEXT NOT NULL, entry BLOB,
  seq INTEGER NOT NULL, PRIMARY KEY (branch, path)) WITHOUT ROWID;
CREATE TABLE objects (oid BLOB PRIMARY KEY, type INTEGER NOT NULL, data BLOB NOT NULL);
CREATE TABLE uploads (
  id TEXT PRIMARY KEY, repository TEXT NOT NULL REFERENCES repositories ON DELETE CASCADE, branch TEXT NOT NULL,
  path TEXT NOT NULL, created INTEGER NOT NULL, content_type TEXT NOT NULL, metadata TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE parts (
  upload TEXT NOT NULL REFERENCES uploads ON DELETE CASCADE, number INTEGER NOT NULL, address TEXT NOT NULL,
  size INTEGER NOT NULL, md5 TEXT NOT NULL, created INTEGER NOT NULL, PRIMARY KEY (upload, number)) WITHOUT ROWID;
CREATE TABLE runs (
  repository TEXT NOT NULL REFERENCES repositories ON DELETE CASCADE, id TEXT NOT NULL, branch TEXT NOT NULL,
  commit_id TEXT NOT NULL, event TEXT NOT NULL, status TEXT NOT NULL, started TEXT NOT NULL, ended TEXT NOT NULL,
  PRIMARY KEY (repository, id)) WITHOUT ROWID;
CREATE TABLE hook_runs (
  repository TEXT NOT NULL REFERENCES repositories ON DELETE CASCADE, run TEXT NOT NULL, id TEXT NOT NULL,
  action TEXT NOT NULL, hook TEXT NOT NULL, status TEXT NOT NULL, started TEXT NOT NULL, ended TEXT NOT NULL,
  output TEXT NOT NULL, PRIMARY KEY (repository, run, id)) WITHOUT ROWID;
"""

# Version to the statements that bring a file of this version to the next one.
MIGRATIONS = {
    1: """
-- Rules of garbage collection, as the API takes them.
CREATE TABLE gc_rules (
  repository TEXT PRIMARY KEY REFERENCES repositories ON DELETE CASCADE, rules TEXT NOT NULL) WITHOUT ROWID;
-- Blocks of removed pointers; they are deleted unless another pointer names them too.
CREATE TABLE doomed (address TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE INDEX commits_by_time ON commits (repository, created);
""",
}


class MetadataDatabase:
    """Connections to the metadata file: one writer behind a lock, and one reader per thread.

    Args:
        path: The SQLite file; created with its schema when missing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()
        self._lock = threading.Lock()
        self._readers: list[sqlite3.Connection] = []
        self._writer = self._connect()
        self._migrate()
        self._seq = int(self._writer.execute("SELECT coalesce(max(seq), 0) FROM staging").fetchone()[0])

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=60)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA cache_size=-32000")
        return connection

    def _migrate(self) -> None:
        version = self._writer.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            self._writer.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version=1; COMMIT;")
        for number in range(max(version, 1), SCHEMA_VERSION):
            self._writer.executescript(f"BEGIN; {MIGRATIONS[number]} PRAGMA user_version={number + 1}; COMMIT;")

    def reader(self) -> sqlite3.Connection:
        """Return this thread's read connection."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._connect()
            self._local.connection = connection
            self._readers.append(connection)
        return connection

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """Yield this thread's reader in a read transaction, so that head and staging area match."""
        connection = self.reader()
        if connection.in_transaction:
            yield connection
            return
        connection.execute("BEGIN")
        try:
            yield connection
        finally:
            connection.execute("COMMIT")

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Yield the writer in one transaction, which is rolled back when the block raises."""
        with self._lock:
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
            except BaseException:
                self._writer.execute("ROLLBACK")
                raise
            self._writer.execute("COMMIT")

    def next_seq(self) -> int:
        """Return the next staging sequence number; call it only inside `write`."""
        self._seq += 1
        return self._seq

    def close(self) -> None:
        """Close every connection; closing the last one merges the WAL into the file."""
        for connection in (*self._readers, self._writer):
            connection.close()
