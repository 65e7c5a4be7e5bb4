"""Read, list, stage and delete objects.

A branch shows its staging area on top of its committed tree.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from standins.lakefs import api_errors
from standins.lakefs.entries import Entry, is_valid_key
from standins.lakefs.git_store import BLOB, object_id
from standins.lakefs.model import Branch, Core, ReferenceView, Repository, find_branch, find_commit, find_repository
from standins.lakefs.references import References

STAGED_PAGE = 500
# Sorts after every key that continues a prefix.
LAST = "\U0010ffff"

Condition = Callable[[Entry | None], None]


class ListingRow(NamedTuple):
    """One row of a listing: an object, or a common prefix (entry None)."""

    path: str
    entry: Entry | None


class StagedChange(NamedTuple):
    """One uncommitted change of content; None means that the object does not exist."""

    path: str
    old: Entry | None
    new: Entry | None
    pointer: bytes | None


class LakeObjects:
    """Reads objects through references and writes them to the staging area."""

    def __init__(self, core: Core, references: References) -> None:
        self._core = core
        self._references = references

    # -- reading -----------------------------------------------------------------------------------

    def find(self, repository: str, ref: str, path: str) -> Entry | None:
        """Return the object a reference shows under a path, or None.

        Raises:
            Refusal: 404 when the repository or the reference does not exist.
        """
        with self._core.database.snapshot() as connection:
            view = self._references.resolve(repository, ref).view
            pointer = self._pointer(connection, view, path)
            return self.entry(pointer) if pointer else None

    def get(self, repository: str, ref: str, path: str) -> Entry:
        """Return the object a reference shows under a path.

        Raises:
            Refusal: 404 when the repository, the reference or the object does not exist.
        """
        entry = self.find(repository, ref, path)
        if entry is None:
            raise api_errors.object_missing()
        return entry

    def entry(self, pointer: bytes) -> Entry:
        """Return the entry of a pointer blob.

        Raises:
            Refusal: 410 when garbage collection removed it.
        """
        query = "SELECT data FROM objects WHERE oid = ?"
        row = self._core.database.reader().execute(query, (pointer,)).fetchone()
        if row is None:  # a cached tree may still name it
            raise api_errors.expired()
        return Entry.load(row[0])

    def _pointer(self, connection: sqlite3.Connection, view: ReferenceView, path: str) -> bytes | None:
        if view.branch is not None:
            query = "SELECT entry FROM staging WHERE branch = ? AND path = ?"
            row = connection.execute(query, (view.branch, path)).fetchone()
            if row:
                pointer: bytes | None = row[0]
                return pointer
        return self._core.trees.get(view.tree, path)

    def listing(
        self, repository: str, ref: str, *, prefix: str = "", after: str = "", delimiter: str = "", amount: int = 1000
    ) -> tuple[list[ListingRow], bool]:
        """Return up to `amount` objects and common prefixes, and whether there are more.

        `after` is exclusive; when it is a common prefix, everything below it is skipped.
        """
        with self._core.database.snapshot():
            view = self._references.resolve(repository, ref).view
            rows = list(self._rows(view, prefix, after, delimiter, amount + 1))
            listed = [ListingRow(path, self.entry(pointer) if pointer else None) for path, pointer in rows[:amount]]
        return listed, len(rows) > amount

    def _rows(
        self, view: ReferenceView, prefix: str, after: str, delimiter: str, amount: int
    ) -> Iterator[tuple[str, bytes | None]]:
        if delimiter and after.startswith(prefix) and after.endswith(delimiter) and after != prefix:
            after += LAST
        while amount:
            common = ""
            for path, pointer in self.walk(view, prefix, after):
                common = _common_prefix(path, prefix, delimiter)
                yield (common, None) if common else (path, pointer)
                amount -= 1
                if common or not amount:
                    break
            if not common:
                return
            after = common + LAST

    def walk(self, view: ReferenceView, prefix: str = "", after: str = "") -> Iterator[tuple[str, bytes]]:
        """Yield (path, pointer) of a view in key order; staged rows replace those of the tree."""
        committed = self._core.trees.walk(view.tree, prefix, after)
        if view.branch is None:
            yield from committed
            return
        tree = next(committed, None)
        for path, pointer in self.staged(view.branch, prefix, after):
            while tree and tree[0] < path:
                yield tree
                tree = next(committed, None)
            if tree and tree[0] == path:
                tree = next(committed, None)
            if pointer is not None:
                yield path, pointer
        if tree:
            yield tree
            yield from committed

    def staged(self, branch: int, prefix: str = "", after: str = "") -> Iterator[tuple[str, bytes | None]]:
        """Yield (path, pointer, or None for a tombstone) of a staging area in key order."""
        query = "SELECT path, entry FROM staging WHERE branch = ? AND path > ? AND path >= ? ORDER BY path LIMIT ?"
        while True:
            page = self._core.database.reader().execute(query, (branch, after, prefix, STAGED_PAGE)).fetchall()
            for path, pointer in page:
                if not path.startswith(prefix):
                    return
                yield path, pointer
            if len(page) < STAGED_PAGE:
                return
            after = page[-1][0]

    def uncommitted(
        self, repository: str, branch: str, *, prefix: str = "", after: str = "", limit: int | None = None
    ) -> list[StagedChange]:
        """Return the first `limit` uncommitted changes of a branch, in key order."""
        with self._core.database.snapshot():
            resolved = self._references.resolve(repository, branch)
            if resolved.branch is None:
                raise api_errors.branch_missing(branch)
            return list(
                islice(self.changes(ReferenceView(resolved.commit.tree, resolved.branch.id), prefix, after), limit)
            )

    def changes(self, view: ReferenceView, prefix: str = "", after: str = "") -> Iterator[StagedChange]:
        """Yield the staged rows whose content differs from the tree."""
        if view.branch is None:
            return
        for path, pointer in self.staged(view.branch, prefix, after):
            below = self._core.trees.get(view.tree, path)
            if below == pointer:
                continue
            old = self.entry(below) if below else None
            new = self.entry(pointer) if pointer else None
            if old is None or new is None or old.identity != new.identity:
                yield StagedChange(path, old, new, pointer)

    def is_dirty(self, connection: sqlite3.Connection, branch: Branch, tree: bytes) -> bool:
        """Return whether a branch has uncommitted changes."""
        if connection.execute("SELECT 1 FROM staging WHERE branch = ? LIMIT 1", (branch.id,)).fetchone() is None:
            return False
        return next(self.changes(ReferenceView(tree, branch.id)), None) is not None

    # -- writing -----------------------------------------------------------------------------------

    def check_writable(self, repository: str, branch: str) -> Repository:
        """Check before a body is read what `put` would refuse.

        Raises:
            Refusal: 404 for a missing repository or branch, 403 for a protected branch or a
                read-only repository.
        """
        return self._writable(self._core.database.reader(), repository, branch)[0]

    def put(self, repository: str, branch: str, path: str, entry: Entry, condition: Condition | None = None) -> None:
        """Stage one object; `condition` gets the current entry and may refuse, atomically.

        Raises:
            Refusal: As `check_writable`, 400 for a path that cannot be stored, or what `condition`
                raises.
        """
        if not is_valid_key(path):
            raise api_errors.invalid("path", "path")
        data = entry.dump()
        with self._core.database.write() as connection:
            target = self._writable(connection, repository, branch)[1]
            if condition:
                pointer = self._current(connection, repository, target, path)
                condition(self.entry(pointer) if pointer else None)
            pointer = object_id(BLOB, data)
            connection.execute("INSERT OR IGNORE INTO objects VALUES (?, ?, ?)", (pointer, BLOB, data))
            self._stage(connection, target, path, pointer)

    def delete(self, repository: str, branch: str, paths: Iterable[str]) -> None:
        """Stage the removal of paths in one transaction; a missing path is no error.

        Raises:
            Refusal: As `check_writable`.
        """
        with self._core.database.write() as connection:
            target = self._writable(connection, repository, branch)[1]
            for path in paths:
                # A staged row becomes a tombstone even if the tree has no such path, because a
                # running commit may be consuming the row.
                if self._current(connection, repository, target, path) is not None:
                    self._stage(connection, target, path, None)

    def reset(self, repository: str, branch: str, *, path: str | None = None, prefix: str | None = None) -> None:
        """Drop uncommitted changes: all of them, of one path, or below a prefix.

        Raises:
            Refusal: 404 for a missing branch, 403 for a protected one.
        """
        with self._core.lock(repository, branch), self._core.database.write() as connection:
            target = self._writable(connection, repository, branch)[1]
            where: str = ""
            values: tuple[str, ...] = ()
            if path is not None:
                where, values = " AND path = ?", (path,)
            elif prefix is not None:
                where, values = " AND path >= ? AND path < ?", (prefix, prefix + LAST)
            connection.execute(f"DELETE FROM staging WHERE branch = ?{where}", (target.id, *values))  # noqa: S608

    def _writable(self, connection: sqlite3.Connection, repository: str, branch: str) -> tuple[Repository, Branch]:
        repo = find_repository(connection, repository)
        if repo is None:
            raise api_errors.repository_missing()
        target = find_branch(connection, repository, branch)
        if target is None:
            raise api_errors.branch_missing(branch)
        if repo.read_only:
            raise api_errors.forbidden("read-only repository", "ErrReadOnlyRepository")
        if repo.is_protected(branch):
            raise api_errors.write_protected()
        return repo, target

    def _current(self, connection: sqlite3.Connection, repository: str, branch: Branch, path: str) -> bytes | None:
        commit = find_commit(connection, repository, branch.head)
        assert commit is not None, "a branch always points at a commit of its repository"  # noqa: S101
        return self._pointer(connection, ReferenceView(commit.tree, branch.id), path)

    def _stage(self, connection: sqlite3.Connection, branch: Branch, path: str, pointer: bytes | None) -> None:
        row = (branch.id, path, pointer, self._core.database.next_seq())
        connection.execute("INSERT OR REPLACE INTO staging VALUES (?, ?, ?, ?)", row)


def _common_prefix(path: str, prefix: str, delimiter: str) -> str:
    at = path.find(delimiter, len(prefix)) if delimiter else -1
    return path[: at + len(delimiter)] if at >= 0 else ""
