"""Differences between references as the API lists them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stack.lakefs.entries import Entry
from stack.lakefs.merging import same_content, two_way
from stack.lakefs.model import Commit, Core
from stack.lakefs.objects import Objects

if TYPE_CHECKING:
    from stack.lakefs.service import Service

# About 300 bytes a row in memory.
KEPT_ROWS = 50_000


@dataclass(frozen=True)
class Difference:
    """One row of a diff."""

    type: str
    path: str
    path_type: str = "object"
    size: int | None = None

    @classmethod
    def of(cls, path: str, old: Entry | None, new: Entry | None) -> Difference:
        """Classify a change by what is there before and after."""
        kind = "added" if old is None else "removed" if new is None else "changed"
        entry = new or old
        return cls(kind, path, "object", entry.size if entry else None)

    def json(self) -> dict[str, Any]:
        """Return the row as the API shows it."""
        row: dict[str, Any] = {"type": self.type, "path": self.path, "path_type": self.path_type}
        return row if self.size is None else {**row, "size_bytes": self.size}


class Comparisons:
    """The last few comparisons: trees are immutable, and a client asks for one diff page after page."""

    def __init__(self, core: Core, objects: Objects) -> None:
        self._core = core
        self._objects = objects
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[bytes, bytes, bytes | None], list[Difference]] = OrderedDict()

    def rows(self, left: bytes, right: bytes, base: bytes | None) -> list[Difference]:
        """Return what the right tree changed: since `base` (conflicts with left marked), or against left itself."""
        key = (left, right, base)
        with self._lock:
            found = self._kept.get(key)
        if found is None:
            found = self._compare(left, right, base)
            with self._lock:
                self._kept[key] = found
                while sum(map(len, self._kept.values())) > KEPT_ROWS and len(self._kept) > 1:
                    self._kept.popitem(last=False)
        return found

    def _compare(self, left: bytes, right: bytes, base: bytes | None) -> list[Difference]:
        core, objects = self._core, self._objects
        changes = two_way(core, objects, left if base is None else base, right)
        other = {} if base is None else {change.path: change for change in two_way(core, objects, base, left)}
        rows = []
        for change in changes:
            old, new = (objects.entry(pointer) if pointer else None for pointer in (change.old, change.new))
            row = Difference.of(change.path, old, new)
            if change.path in other:
                if same_content(objects, change.new, other[change.path].new):
                    continue
                row = Difference("conflict", row.path, row.path_type, row.size)
            rows.append(row)
        return rows


def compare(service: Service, repository: str, left: str, right: str, *, three_dot: bool) -> list[Difference]:
    """Return what `right` changed: since its merge base with `left`, or against `left` itself."""
    theirs = service.references.resolve(repository, right).commit
    ours = service.references.resolve(repository, left).commit
    base = service.history.merge_base(repository, ours, theirs).tree if three_dot else None
    return service.comparisons.rows(ours.tree, theirs.tree, base)


def group(rows: Iterable[Difference], prefix: str, delimiter: str) -> Iterator[Difference]:
    """Yield the rows under a prefix; with a delimiter, folders below it become one `prefix_changed` row each."""
    last = ""
    for row in rows:
        if not row.path.startswith(prefix):
            continue
        at = row.path.find(delimiter, len(prefix)) if delimiter else -1
        if at < 0:
            yield row
        elif row.path[: at + len(delimiter)] != last:
            last = row.path[: at + len(delimiter)]
            yield Difference("prefix_changed", last, "common_prefix")


def touches(service: Service, repository: str, commit: Commit, objects: list[str], prefixes: list[str]) -> bool:
    """Return whether a commit changed one of the objects, or anything under one of the prefixes, against its parents.

    A merge counts only when it differs from every parent.
    """
    empty = service.core.trees.empty()
    trees = [service.references.resolve(repository, parent).commit.tree for parent in commit.parents] or [empty]

    def changed(tree: bytes) -> bool:
        paths = [change.path for change in two_way(service.core, service.objects, tree, commit.tree)]
        return any(path in objects or path.startswith(tuple(prefixes)) for path in paths)

    return all(changed(tree) for tree in trees)
