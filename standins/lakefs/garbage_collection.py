"""Garbage collection: remove trees, pointers and data blocks that no kept reference shows.

What is kept:

- the head of every branch, its parents and its staging area;
- every commit younger than the retention (the largest number of days in the repository's
  `gc_rules`; without rules every commit counts as young);
- the merge base of any two branches;
- what a tag names, except objects below `NOT_KEPT_BY_TAGS`. Bronze is removed after its silver was
  published, and a tag exists to keep the published figures.

Commits themselves stay, as in lakeFS: the log is complete, and reading an expired object returns
410.

Guarantees. Rows are removed in small transactions. Each holds the collection lock exclusively and
first marks what has become reachable since, so no commit, merge or branch can build on what is
being removed. The transaction that removes a pointer puts the address of its block into table
`doomed`, and the row stays there until the block is deleted. So the next run finishes what a killed
run began. Memory: eight bytes per live object, and the ids of live trees.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import combinations

import numpy as np

from standins.lakefs.branch_history import BranchHistory
from standins.lakefs.entries import Entry
from standins.lakefs.git_store import BLOB, KIND, PACKED, TREE, parts_of
from standins.lakefs.model import Branch, Core, find_commit
from standins.lakefs.tree_objects import NO_OID

LOG = logging.getLogger("standins.lakefs.garbage_collection")
# Top-level folders that a tag alone does not keep.
NOT_KEPT_BY_TAGS = (b"dbronze",)
DAY_S = 86_400
# Rows checked and removed in one transaction, which takes about 20 ms.
CHUNK = 1000
# A merge may hold the lock while it waits up to a minute for its webhook. The rows are then left to
# the next run.
LOCK_TIMEOUT_S = 5.0
# Merge bases are computed for the newest branches only: the number of pairs grows with the square.
MAX_BRANCHES = 40
# Addresses of blocks held in memory at once: about 25 MB.
MAX_BLOCKS = 100_000
# Marks held in a set before they are merged into the sorted array: about 15 MB.
MAX_RECENT = 200_000


class _Stopped(Exception):
    """The server stops, so the run must end."""


@dataclass
class CollectionResult:
    """How much a run removed; `is_whole` is false when rows were left to the next run."""

    trees: int = 0
    pointers: int = 0
    blocks: int = 0
    is_whole: bool = True


class _LiveIds:
    """The live pointers, by the first eight bytes of their ids.

    Two ids with the same eight bytes make a dead pointer look live, never a live one dead.
    """

    def __init__(self) -> None:
        self._known = np.empty(0, np.uint64)  # sorted
        self._recent: set[int] = set()

    def add(self, oids: Iterable[bytes]) -> None:
        self._recent.update(int.from_bytes(oid[:8], "big") for oid in oids)
        if len(self._recent) >= MAX_RECENT:
            self._known = np.union1d(self._known, np.fromiter(self._recent, np.uint64, len(self._recent)))
            self._recent.clear()

    def lacks(self, oids: list[bytes]) -> list[bool]:
        """Return per id whether it is missing here."""
        wanted = [int.from_bytes(oid[:8], "big") for oid in oids]
        keys = np.array(wanted, np.uint64)
        at = np.searchsorted(self._known, keys)
        inside = at < len(self._known)
        known = np.zeros(len(keys), bool)
        known[inside] = self._known[at[inside]] == keys[inside]
        return [not is_known and key not in self._recent for key, is_known in zip(wanted, known.tolist(), strict=True)]


@dataclass
class _CollectionRun:
    """One run: what it has marked as live so far."""

    now: int
    pointers: _LiveIds = field(default_factory=_LiveIds)
    trees: set[bytes] = field(default_factory=set)
    staged_until: int = 0
    newest: int = 0
    result: CollectionResult = field(default_factory=CollectionResult)


class GarbageCollector:
    """Collects the garbage of one stand-in, one run at a time.

    Args:
        core: Metadata, blocks and clock.
        history: Computes merge bases.
    """

    def __init__(self, core: Core, history: BranchHistory) -> None:
        self._core = core
        self._history = history
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._run_lock = threading.Lock()

    # -- schedule ----------------------------------------------------------------------------------

    def start(self, first_s: float, every_s: float) -> None:
        """Collect in a background thread: after `first_s` seconds, then every `every_s`."""
        self._thread = threading.Thread(target=self._loop, args=(first_s, every_s), name="collector", daemon=True)
        self._thread.start()

    def _loop(self, first_s: float, every_s: float) -> None:
        if self._stop.wait(first_s):
            return
        while True:
            try:
                log_result(self.collect())
            except (OSError, sqlite3.Error):
                LOG.exception("garbage collection failed; the next run continues")
            if self._stop.wait(every_s):
                return

    def stop(self) -> None:
        """End the thread; a run in progress stops after its transaction."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    # -- a run -------------------------------------------------------------------------------------

    def collect(self) -> CollectionResult:
        """Remove what no kept reference shows, and return how much was removed.

        Repeated calls are harmless.
        """
        with self._run_lock:
            run = _CollectionRun(self._core.now())
            reader = self._core.database.reader()
            until = int(reader.execute("SELECT coalesce(max(rowid), 0) FROM objects").fetchone()[0])
            try:
                self._mark(run, reader)
                self._sweep(run, until)
                self._drop_blocks(run)
                self._drop_runs(run)
            except _Stopped:
                run.result.is_whole = False
            return run.result

    def _retention_s(self, reader: sqlite3.Connection) -> dict[str, int | None]:
        """Return the retention in seconds by repository; None where no rule is set."""
        rows = reader.execute("SELECT name, rules FROM repositories LEFT JOIN gc_rules ON repository = name").fetchall()
        return {name: None if rules is None else days_of(json.loads(rules)) * DAY_S for name, rules in rows}

    def _mark(self, run: _CollectionRun, reader: sqlite3.Connection) -> None:
        run.newest = run.now
        for name, kept_s in self._retention_s(reader).items():
            since = 0 if kept_s is None else run.now - kept_s
            self._mark_young(run, reader, name, since)
            tags = reader.execute("SELECT commit_id FROM tags WHERE repository = ?", (name,)).fetchall()
            for (commit_id,) in tags:
                self._mark_tag(run, reader, name, commit_id)
            self._mark_bases(run, reader, name)
        self._mark_heads(run, reader)

    def _mark_young(self, run: _CollectionRun, reader: sqlite3.Connection, repository: str, since: int) -> None:
        query = "SELECT tree FROM commits WHERE repository = ? AND created >= ?"
        for (tree,) in reader.execute(query, (repository, since)).fetchall():
            self._mark_tree(run, tree)

    def _mark_tag(self, run: _CollectionRun, reader: sqlite3.Connection, repository: str, commit_id: str) -> None:
        commit = find_commit(reader, repository, commit_id)
        if commit is None or commit.tree in run.trees:
            return
        try:
            entries = self._core.git.tree_entries(commit.tree)
            row = self._row(commit.tree)
        except KeyError:
            return
        # Keep only the row of the root tree. It is small, and its entries are marked below.
        run.trees.add(commit.tree)
        if row[0] & ~(KIND | PACKED):
            self._mark_tree(run, row[1][:20])
        self._mark_entries(run, {name: oid for name, oid in entries.items() if name not in NOT_KEPT_BY_TAGS})

    def _mark_bases(self, run: _CollectionRun, reader: sqlite3.Connection, repository: str) -> None:
        query = "SELECT id, name, head FROM branches WHERE repository = ? ORDER BY id DESC LIMIT ?"
        branches = [Branch(*row) for row in reader.execute(query, (repository, MAX_BRANCHES))]
        heads = [find_commit(reader, repository, head) for head in {branch.head for branch in branches}]
        for left, right in combinations([head for head in heads if head is not None], 2):
            self._mark_tree(run, self._history.merge_base(repository, left, right).tree)
        parents = [find_commit(reader, repository, parent) for head in heads if head for parent in head.parents]
        for parent in parents:
            if parent is not None:
                self._mark_tree(run, parent.tree)

    def _mark_heads(self, run: _CollectionRun, connection: sqlite3.Connection) -> None:
        """Mark what branches show now, and what was committed or staged since the last call."""
        heads = "SELECT c.tree FROM branches b JOIN commits c ON c.repository = b.repository AND c.id = b.head"
        new = "SELECT tree FROM commits WHERE repository = ? AND created >= ?"
        names = [name for (name,) in connection.execute("SELECT name FROM repositories").fetchall()]
        trees = [tree for (tree,) in connection.execute(heads).fetchall()]
        # A client may date a commit slightly back, so two more minutes are included.
        trees += [tree for name in names for (tree,) in connection.execute(new, (name, run.newest - 120)).fetchall()]
        run.newest = self._core.now()
        for tree in trees:
            self._mark_tree(run, tree)
        query = "SELECT entry, seq FROM staging WHERE seq > ? AND entry IS NOT NULL"
        rows = connection.execute(query, (run.staged_until,)).fetchall()
        run.pointers.add(entry for entry, _ in rows)
        run.staged_until = max((seq for _, seq in rows), default=run.staged_until)

    def _mark_tree(self, run: _CollectionRun, root: bytes) -> None:
        waiting = [root]
        while waiting:
            oid = waiting.pop()
            if self._stop.is_set():  # with only a part of the marks, live objects would look dead
                raise _Stopped
            if oid in run.trees:
                continue
            try:
                stored, data = self._row(oid)
            except KeyError:
                continue  # removed by an earlier run, such as the bronze of a tag
            run.trees.add(oid)
            base, entries = parts_of(stored, data)
            # A tree stored as a difference needs its base, so the base stays a few commits longer
            # than it otherwise would.
            waiting += [base] if base else []
            waiting += [child for name, child in entries.items() if name[:1] == b"d" and child != NO_OID]
            run.pointers.add(child for name, child in entries.items() if name[:1] == b"f" and child != NO_OID)

    def _mark_entries(self, run: _CollectionRun, entries: dict[bytes, bytes]) -> None:
        for name, child in entries.items():
            if name[:1] == b"d":
                self._mark_tree(run, child)
        run.pointers.add(child for name, child in entries.items() if name[:1] == b"f")

    def _row(self, oid: bytes) -> tuple[int, bytes]:
        row: tuple[int, bytes] | None = (
            self._core.database.reader().execute("SELECT type, data FROM objects WHERE oid = ?", (oid,)).fetchone()
        )
        if row is None:
            raise KeyError(oid.hex())
        return row

    # -- removal -----------------------------------------------------------------------------------

    def _sweep(self, run: _CollectionRun, until: int) -> None:
        for rows in self._chunks(until):
            if self._stop.is_set():
                raise _Stopped
            if not self._dead_rows(run, rows):
                continue
            with self._core.collection_lock.exclusive(LOCK_TIMEOUT_S) as is_exclusive:
                if not is_exclusive:
                    run.result.is_whole = False
                    continue
                with self._core.database.write() as connection:
                    self._mark_heads(run, connection)
                    self._remove(run, connection, self._dead_rows(run, rows))

    def _chunks(self, until: int) -> Iterator[list[tuple[int, bytes, int]]]:
        at = 0
        query = "SELECT rowid, oid, type FROM objects WHERE rowid > ? AND rowid <= ? ORDER BY rowid LIMIT ?"
        while rows := self._core.database.reader().execute(query, (at, until, CHUNK)).fetchall():
            yield rows
            at = rows[-1][0]

    @staticmethod
    def _dead_rows(run: _CollectionRun, rows: list[tuple[int, bytes, int]]) -> list[tuple[int, bytes, int]]:
        trees = [row for row in rows if row[2] & KIND == TREE and row[1] not in run.trees]
        pointers = [row for row in rows if row[2] & KIND == BLOB]
        lacking = run.pointers.lacks([row[1] for row in pointers]) if pointers else []
        return trees + [row for row, is_dead in zip(pointers, lacking, strict=True) if is_dead]

    @staticmethod
    def _remove(run: _CollectionRun, connection: sqlite3.Connection, rows: list[tuple[int, bytes, int]]) -> None:
        for rowid, oid, stored in rows:
            if stored & KIND == BLOB:
                row = connection.execute("SELECT data FROM objects WHERE rowid = ?", (rowid,)).fetchone()
                if row:
                    connection.execute("INSERT OR IGNORE INTO doomed VALUES (?)", (Entry.load(row[0]).address,))
            done = connection.execute("DELETE FROM objects WHERE rowid = ? AND oid = ?", (rowid, oid)).rowcount
            run.result.pointers += done if stored & KIND == BLOB else 0
            run.result.trees += done if stored & KIND == TREE else 0

    def _drop_blocks(self, run: _CollectionRun) -> None:
        """Delete the blocks of removed pointers, unless another pointer (of a copy) names them."""
        reader = self._core.database.reader()
        address = "json_extract(CAST(data AS TEXT), '$[0]')"
        some = "SELECT address FROM doomed ORDER BY address LIMIT ?"
        query = f"SELECT {address} FROM objects WHERE type = ? AND {address} IN ({some})"  # noqa: S608
        while doomed := [row[0] for row in reader.execute(some, (MAX_BLOCKS,))]:
            named = {row[0] for row in reader.execute(query, (BLOB, MAX_BLOCKS))}
            for start in range(0, len(doomed), CHUNK):
                self._drop_chunk(run, doomed[start : start + CHUNK], named)

    def _drop_chunk(self, run: _CollectionRun, addresses: list[str], named: set[str]) -> None:
        if self._stop.is_set():
            raise _Stopped
        for address in addresses:
            if address not in named:
                self._core.blocks.drop(address)
                run.result.blocks += 1
        with self._core.database.write() as connection:
            connection.executemany("DELETE FROM doomed WHERE address = ?", [(address,) for address in addresses])

    def _drop_runs(self, run: _CollectionRun) -> None:
        """Delete the records of hook runs that are older than the retention."""
        for name, kept_s in self._retention_s(self._core.database.reader()).items():
            if kept_s is None:
                continue
            before = datetime.fromtimestamp(run.now - kept_s, UTC).isoformat()
            with self._core.database.write() as connection:
                old = "repository = ? AND run IN (SELECT id FROM runs WHERE repository = ? AND ended < ?)"
                connection.execute(f"DELETE FROM hook_runs WHERE {old}", (name, name, before))  # noqa: S608
                connection.execute("DELETE FROM runs WHERE repository = ? AND ended < ?", (name, before))


def log_result(collected: CollectionResult) -> None:
    """Log what a run removed."""
    LOG.info("collected %d pointers, %d trees, %d blocks", collected.pointers, collected.trees, collected.blocks)


def days_of(rules: dict[str, object]) -> int:
    """Return the retention in days: the largest number in a repository's rules."""
    branches = rules.get("branches") or []
    given = [branch["retention_days"] for branch in branches] if isinstance(branches, list) else []
    return max([int(str(rules["default_retention_days"])), *(int(str(days)) for days in given)])
