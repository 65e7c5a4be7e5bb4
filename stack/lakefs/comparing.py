"""Differences between references as the API lists them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from stack.lakefs.entries import Entry
from stack.lakefs.merging import same_content, two_way
from stack.lakefs.model import Commit
from stack.lakefs.service import Service


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


def compare(service: Service, repository: str, left: str, right: str, *, three_dot: bool) -> list[Difference]:
    """Return what `right` changed: since its merge base with `left` (conflicts marked), or against `left` itself."""
    core, objects = service.core, service.objects
    theirs = service.references.resolve(repository, right).commit
    ours = service.references.resolve(repository, left).commit
    if not three_dot:
        changes, other = two_way(core, objects, ours.tree, theirs.tree), {}
    else:
        base = service.history.merge_base(repository, ours, theirs)
        changes = two_way(core, objects, base.tree, theirs.tree)
        other = {change.path: change for change in two_way(core, objects, base.tree, ours.tree)}
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
