"""Differences between references, as the API lists them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from standins.lakefs.branch_history import BranchHistory
from standins.lakefs.entries import Entry
from standins.lakefs.model import Commit, Core
from standins.lakefs.objects import LakeObjects
from standins.lakefs.references import References
from standins.lakefs.tree_merge import same_content, two_way

# About 300 bytes per row in memory.
CACHED_ROWS = 50_000


@dataclass(frozen=True)
class DiffRow:
    """One row of a diff."""

    type: str
    path: str
    path_type: str = "object"
    size: int | None = None

    @classmethod
    def of(cls, path: str, old: Entry | None, new: Entry | None) -> DiffRow:
        """Return the row for a path by what exists before and after."""
        kind = "changed"
        if old is None:
            kind = "added"
        elif new is None:
            kind = "removed"
        entry = new or old
        return cls(kind, path, "object", entry.size if entry else None)

    def json(self) -> dict[str, Any]:
        """Return the row as the API shows it."""
        row: dict[str, Any] = {"type": self.type, "path": self.path, "path_type": self.path_type}
        return row if self.size is None else {**row, "size_bytes": self.size}


class ReferenceDiffs:
    """Computes diffs and caches the most recent ones.

    A client reads a diff page by page. Trees are immutable, so a cached diff stays right.
    """

    def __init__(self, core: Core, references: References, objects: LakeObjects, history: BranchHistory) -> None:
        self._core = core
        self._references = references
        self._objects = objects
        self._history = history
        self._lock = threading.Lock()
        self._cached: OrderedDict[tuple[bytes, bytes, bytes | None], list[DiffRow]] = OrderedDict()

    def between(self, repository: str, left: str, right: str, *, three_dot: bool) -> list[DiffRow]:
        """Return what `right` changed since its merge base with `left`, or since `left` itself."""
        theirs = self._references.resolve(repository, right).commit
        ours = self._references.resolve(repository, left).commit
        base = self._history.merge_base(repository, ours, theirs).tree if three_dot else None
        return self.between_trees(ours.tree, theirs.tree, base)

    def is_touched(self, repository: str, commit: Commit, objects: list[str], prefixes: list[str]) -> bool:
        """Return whether a commit changed one of the objects, or a path under one of the prefixes.

        A merge counts only when it differs from every parent.
        """
        parents = [self._references.resolve(repository, parent).commit.tree for parent in commit.parents]

        def is_changed_from(tree: bytes) -> bool:
            paths = [change.path for change in two_way(self._core, self._objects, tree, commit.tree)]
            return any(path in objects or path.startswith(tuple(prefixes)) for path in paths)

        return all(is_changed_from(tree) for tree in parents or [self._core.trees.empty()])

    def between_trees(self, left: bytes, right: bytes, base: bytes | None) -> list[DiffRow]:
        """Return what the right tree changed since `base`; None compares it with the left tree."""
        key = (left, right, base)
        with self._lock:
            rows = self._cached.get(key)
        if rows is None:
            rows = self._compare(left, right, base)
            with self._lock:
                self._cached[key] = rows
                while sum(map(len, self._cached.values())) > CACHED_ROWS and len(self._cached) > 1:
                    self._cached.popitem(last=False)
        return rows

    def _compare(self, left: bytes, right: bytes, base: bytes | None) -> list[DiffRow]:
        """Return what the right tree changed.

        Paths that the left tree changed differently are conflicts.
        """
        core, objects = self._core, self._objects
        changes = two_way(core, objects, left if base is None else base, right)
        other = {} if base is None else {change.path: change for change in two_way(core, objects, base, left)}
        rows = []
        for change in changes:
            old, new = (objects.entry(pointer) if pointer else None for pointer in (change.old, change.new))
            row = DiffRow.of(change.path, old, new)
            if change.path in other:
                if same_content(objects, change.new, other[change.path].new):
                    continue
                row = DiffRow("conflict", row.path, row.path_type, row.size)
            rows.append(row)
        return rows


def group_by_prefix(rows: Iterable[DiffRow], prefix: str, delimiter: str) -> Iterator[DiffRow]:
    """Yield the rows under a prefix.

    With a delimiter, each folder below it is one `prefix_changed` row.
    """
    last = ""
    for row in rows:
        if not row.path.startswith(prefix):
            continue
        at = row.path.find(delimiter, len(prefix)) if delimiter else -1
        if at < 0:
            yield row
        elif row.path[: at + len(delimiter)] != last:
            last = row.path[: at + len(delimiter)]
            yield DiffRow("prefix_changed", last, "common_prefix")
