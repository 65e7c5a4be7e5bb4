"""Compare trees by content, two-way and three-way, with libgit2's tree diff.

Two versions of an object are the same when size, checksum, content type and user metadata agree.
Where and when the bytes were stored does not matter, so the same upload on two branches merges.
"""

from __future__ import annotations

from dataclasses import dataclass

from standins.lakefs import api_errors
from standins.lakefs.model import Core
from standins.lakefs.objects import LakeObjects
from standins.lakefs.references import NewCommit
from standins.lakefs.trees import PathChange


@dataclass(frozen=True)
class MergeRequest:
    """How to merge, and the message and metadata of the merge commit."""

    new: NewCommit
    strategy: str = ""
    squash: bool = False
    allow_empty: bool = False
    force: bool = False


@dataclass(frozen=True)
class ThreeWay:
    """The edits that apply the changes of a source to a destination."""

    source_changes: list[PathChange]
    edits: dict[str, bytes | None]
    conflicts: list[str]

    def tree(self, core: Core, destination: bytes) -> bytes:
        """Return the merged tree.

        Raises:
            MergeConflict: Both sides changed a path differently and no strategy decides.
        """
        if self.conflicts:
            raise api_errors.MergeConflict(self.conflicts)
        return core.trees.apply(destination, self.edits) if self.edits else destination


def same_content(objects: LakeObjects, left: bytes | None, right: bytes | None) -> bool:
    """Return whether two pointers (None: no object) have the same content."""
    if left is None or right is None or left == right:
        return left == right
    return objects.entry(left).identity == objects.entry(right).identity


def two_way(core: Core, objects: LakeObjects, old: bytes, new: bytes) -> list[PathChange]:
    """Return the paths whose content differs between two trees, in key order."""
    return [change for change in core.trees.diff(old, new) if not same_content(objects, change.old, change.new)]


def three_way(
    core: Core, objects: LakeObjects, *, base: bytes, source: bytes, destination: bytes, strategy: str = ""
) -> ThreeWay:
    """Compute the edits that apply the changes from `base` to `source` to `destination`.

    A change on one side is taken; changes on both sides must agree, or `strategy` decides. The cost
    follows the number of changed paths, not the size of the trees.
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
