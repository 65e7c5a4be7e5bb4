"""Rows of the metadata file as frozen values, and the shared state of the stand-in."""

from __future__ import annotations

import fnmatch
import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from standins.lakefs.blocks import BlockStore
from standins.lakefs.collection_lock import CollectionLock
from standins.lakefs.database import MetadataDatabase
from standins.lakefs.git_store import GitStore, Pending
from standins.lakefs.trees import Trees

COMMIT_COLUMNS = "id, git, tree, parents, generation, committer, message, created, metadata"


@dataclass(frozen=True)
class Repository:
    """One lake repository."""

    name: str
    namespace: str
    default_branch: str
    created: int
    read_only: bool
    metadata: dict[str, str]
    protection: tuple[str, ...]

    @classmethod
    def of(cls, row: tuple[Any, ...]) -> Repository:
        """Build from a `repositories` row."""
        name, namespace, default, created, read_only, metadata, protection = row
        rules = tuple(json.loads(protection))
        return cls(name, namespace, default, created, bool(read_only), json.loads(metadata), rules)

    def is_protected(self, branch: str) -> bool:
        """Return whether a protection rule (fnmatch) covers the branch."""
        return any(fnmatch.fnmatchcase(branch, rule) for rule in self.protection)


@dataclass(frozen=True)
class Branch:
    """One branch; `id` is the key of its staging area, so a re-created branch starts empty."""

    id: int
    name: str
    head: str


@dataclass(frozen=True)
class Commit:
    """One commit: `id` is the sha256 of its git object, `git` and `tree` are git ids."""

    id: str
    git: bytes
    tree: bytes
    parents: tuple[str, ...]
    generation: int
    committer: str
    message: str
    created: int
    metadata: dict[str, str]

    @classmethod
    def of(cls, row: tuple[Any, ...]) -> Commit:
        """Build from a row of `COMMIT_COLUMNS`."""
        identity, git, tree, parents, generation, committer, message, created, metadata = row
        loaded = tuple(json.loads(parents)), generation, committer, message, created, json.loads(metadata)
        return cls(identity, git, tree, *loaded)

    def row(self) -> tuple[Any, ...]:
        """Return the values of `COMMIT_COLUMNS`."""
        parents, metadata = json.dumps(self.parents), json.dumps(self.metadata, sort_keys=True)
        head = (self.id, self.git, self.tree, parents, self.generation)
        return (*head, self.committer, self.message, self.created, metadata)


@dataclass(frozen=True)
class ReferenceView:
    """What a reference shows: a tree and, for a branch, its staging area on top."""

    tree: bytes
    branch: int | None = None


@dataclass(frozen=True)
class ResolvedReference:
    """What a reference expression refers to."""

    repository: Repository
    commit: Commit
    branch: Branch | None
    committed_only: bool = False

    @property
    def view(self) -> ReferenceView:
        """Return the view of this reference."""
        staged = self.branch is not None and not self.committed_only
        return ReferenceView(self.commit.tree, self.branch.id if self.branch and staged else None)


@dataclass
class Core:
    """The shared state: metadata, git objects, trees, blocks, the clock and the locks."""

    database: MetadataDatabase
    git: GitStore
    trees: Trees
    blocks: BlockStore
    clock: Callable[[], float]
    collection_lock: CollectionLock = field(default_factory=CollectionLock)
    _locks: dict[tuple[str, str], threading.Lock] = field(default_factory=dict)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def lock(self, repository: str, branch: str) -> threading.Lock:
        """Return the lock of one branch.

        Operations that move its head hold it, writes of objects do not.
        """
        with self._guard:
            return self._locks.setdefault((repository, branch), threading.Lock())

    @contextmanager
    def moving(self, repository: str, branch: str) -> Iterator[Pending]:
        """Hold the locks for moving a branch, and yield the batch of objects that it writes."""
        with self.collection_lock.shared(), self.lock(repository, branch), self.git.batch() as pending:
            yield pending

    def now(self) -> int:
        """Return seconds since the epoch."""
        return int(self.clock())


def find_repository(connection: sqlite3.Connection, name: str) -> Repository | None:
    """Return a repository by name, or None."""
    row = connection.execute("SELECT * FROM repositories WHERE name = ?", (name,)).fetchone()
    return Repository.of(row) if row else None


def find_branch(connection: sqlite3.Connection, repository: str, name: str) -> Branch | None:
    """Return a branch by name, or None."""
    query = "SELECT id, name, head FROM branches WHERE repository = ? AND name = ?"
    row = connection.execute(query, (repository, name)).fetchone()
    return Branch(*row) if row else None


def find_commit(connection: sqlite3.Connection, repository: str, commit_id: str) -> Commit | None:
    """Return a commit by its full id, or None."""
    query = f"SELECT {COMMIT_COLUMNS} FROM commits WHERE repository = ? AND id = ?"  # noqa: S608  # constant columns
    row = connection.execute(query, (repository, commit_id)).fetchone()
    return Commit.of(row) if row else None
