"""Comparing trees by content: two-way and three-way, over libgit2's tree diff.

Two versions of an object are the same when size, checksum, content type and user metadata agree; where and when the
bytes were stored does not matter, so the same upload on two branches merges.
"""

from __future__ import annotations

from dataclasses import dataclass

from stack.lakefs import refusals
from stack.lakefs.model import Core
from stack.lakefs.objects import Objects
from stack.lakefs.references import NewCommit
from stack.lakefs.trees import Change


@dataclass(frozen=True)
class MergeRequest:
    """How to merge and what the merge commit says."""

    new: NewCommit
    strategy: str = ""
    squash: bool = False
    allow_empty: bool = False
    force: bool = False


@dataclass(frozen=True)
class ThreeWay:
    """The edits that bring a source's changes to a destination."""

    source_changes: list[Change]
    edits: dict[str, bytes | None]
    conflicts: list[str]

    def tree(self, core: Core, destination: bytes) -> bytes:
        """Return the merged tree.

        Raises:
            MergeConflict: Both sides changed a path differently and no strategy decides.
        """
        if self.conflicts:
            raise refusals.MergeConflict(self.conflicts)
        return core.trees.apply(destination, self.edits) if self.edits else destination


def same_content(objects: Objects, left: bytes | None, right: bytes | None) -> bool:
    """Return whether two pointers (None: absent) are the same content."""
    if left is None or right is None or left == right:
        return left == right
    return objects.entry(left).identity == objects.entry(right).identity


def two_way(core: Core, objects: Objects, old: bytes, new: bytes) -> list[Change]:
    """Return the paths whose content differs between two trees, in key order."""
    return [change for change in core.trees.diff(old, new) if not same_content(objects, change.old, change.new)]


def three_way(
    core: Core, objects: Objects, *, base: bytes, source: bytes, destination: bytes, strategy: str = ""
) -> ThreeWay:
    """Work out how to bring `base`→`source` to `destination`: a change on one side wins, on both must agree.

    Cost follows the number of changed paths, not the size of the trees.
    """
    ours = {change.path: change for change in two_way(core, objects, base, destination)}
    changes = two_way(core, objects, base, source)
    edits: dict[str, bytes | None] = {}
    conflicts = []
    for change in changes:
        other = ours.get(change.path)
        if other is not None and same_content(objects, change.new, other.new):
            continue
        if other is None or strategy == "source-wins":
            edits[change.path] = change.new
        elif strategy != "dest-wins":
            conflicts.append(change.path)
    return ThreeWay(changes, edits, conflicts)
