"""The law of the lake's `main`: only what was audited, byte for byte, may become it.

An audit is recorded as an empty commit on the audited branch, whose metadata says so. A reference may be merged into
`main` when its newest commit is such a record, passed, of the commit right below it, with nothing changed in
between, and when it holds all of `main`: then the merge gives exactly the tree that was audited.

The same rule is asked twice: by `branches.merge_audited` before it merges, and by the gate (`gate.py`), a pre-merge
webhook, for everybody else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lakefs import Repository

OK = "audit.ok"
REPORT = "audit.report"
OF = "audit.of"
PREFIX = "audit."


@dataclass(frozen=True, slots=True)
class Candidate:
    """What asks to become the head of a branch.

    Attributes:
        commit_id: Its newest commit.
        parents: Of that commit.
        metadata: Of that commit.
        is_changed: Whether that commit changes any object against its first parent.
        has_destination: Whether nothing changed on the destination that it does not hold.
    """

    commit_id: str
    parents: tuple[str, ...]
    metadata: Mapping[str, str]
    is_changed: bool
    has_destination: bool


def facts(*, ok: bool, report: str, of: str) -> dict[str, str]:
    """Return the commit metadata that records an audit."""
    return {OK: "true" if ok else "false", REPORT: report, OF: of}


def refusal(candidate: Candidate) -> str:
    """Return why a candidate may not be merged; empty when it may (pure)."""
    metadata = candidate.metadata
    if metadata.get(OK) is None:
        return f"commit {candidate.commit_id[:12]} carries no audit"
    if metadata[OK] != "true":
        return f"the audit of {metadata.get(OF, '')[:12]} failed, see {metadata.get(REPORT) or 'no report'}"
    if candidate.parents != (metadata.get(OF),):
        return f"the audit is of {metadata.get(OF, '')[:12]}, which is not what commit {candidate.commit_id[:12]} holds"
    if candidate.is_changed:
        return f"commit {candidate.commit_id[:12]} changes objects that its audit has not seen"
    if not candidate.has_destination:
        return "the destination moved since the branch was made, so the audit has not seen what a merge would give"
    return ""


def candidate(lake: Repository, source: str, into: str) -> Candidate:
    """Read what a reference would bring to a branch.

    Raises:
        ServerException: lakeFS refuses or fails.
    """
    head = lake.ref(source).get_commit()
    parents = tuple(head.parents)
    return Candidate(
        head.id,
        parents,
        dict(head.metadata or {}),
        is_changed=bool(parents) and is_different(lake, parents[0], head.id),
        # What changed on the destination since both went apart.
        has_destination=next(iter(lake.ref(head.id).diff(into, max_amount=1, type="three_dot")), None) is None,
    )


def is_different(lake: Repository, left: str, right: str, prefix: str = "") -> bool:
    """Return whether any object (below a prefix) differs between two references."""
    changes = lake.ref(left).diff(right, max_amount=1, prefix=prefix, type="two_dot")
    return next(iter(changes), None) is not None
