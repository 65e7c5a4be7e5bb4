"""An audit's verdict in commit metadata, and the rule that only audited data reaches `main`.

A verdict is recorded as an empty commit on the audited branch. A reference may be merged into
`main` if all of this is true:

- its newest commit is a verdict, and the audit passed;
- the verdict is about the parent of that commit;
- the commit itself changes no object;
- the reference contains everything that is on `main`.

Then the merge gives exactly the tree that was audited, byte for byte.

Two places check this rule: `branches.merge_audited` before it merges, and the webhook of
`merge_gate.py`, which lakeFS calls for every other client.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the SDK takes half a second to import, and `tickhouse status` needs names only
    from lakefs import Repository

OK = "audit.ok"
REPORT = "audit.report"
OF = "audit.of"
WARNINGS = "audit.warnings"
PREFIX = "audit."
# `real` or `simulated`: kept with the verdict in the commit of `main` that a tag names.
MARKET = "audit.market"
# Metadata of a verdict that its merge into `main` carries as well.
CARRIED = (PREFIX, "rollback.")


@dataclass(frozen=True, slots=True)
class MergeCandidate:
    """The reference that is to be merged into a branch.

    Attributes:
        commit_id: Its newest commit.
        parents: The parents of that commit.
        metadata: The metadata of that commit.
        is_changed: Whether that commit changes any object of its first parent.
        has_destination: Whether the reference contains every change of the destination branch.
    """

    commit_id: str
    parents: tuple[str, ...]
    metadata: Mapping[str, str]
    is_changed: bool
    has_destination: bool


# Metadata is read with every commit, so it holds the first warnings only, each cut to this many
# characters. The report has all of them.
MOST_WARNINGS, MOST_CHARACTERS = 20, 300


def verdict_metadata(*, ok: bool, report: str, of: str, warnings: Sequence[str] = ()) -> dict[str, str]:
    """Return the commit metadata that records an audit.

    The warnings are stored as a JSON list; without warnings that key is absent.
    """
    verdict = {OK: "true" if ok else "false", REPORT: report, OF: of}
    if not warnings:
        return verdict
    shown = [warning[:MOST_CHARACTERS] for warning in warnings[:MOST_WARNINGS]]
    if left := len(warnings) - len(shown):
        shown.append(f"and {left} more in the report")
    return verdict | {WARNINGS: json.dumps(shown, ensure_ascii=False)}


def warnings_in(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """Return the warnings that a commit records."""
    return tuple(json.loads(metadata.get(WARNINGS, "[]")))


def refusal_reason(candidate: MergeCandidate) -> str:
    """Return why a candidate may not be merged; an empty string when it may be (pure)."""
    metadata = candidate.metadata
    if metadata.get(OK) is None:
        return f"commit {candidate.commit_id[:12]} has no audit"
    if metadata[OK] != "true":
        return f"the audit of {metadata.get(OF, '')[:12]} failed, see {metadata.get(REPORT) or 'no report'}"
    if candidate.parents != (metadata.get(OF),):
        return f"the audit is of {metadata.get(OF, '')[:12]}, which is not the parent of {candidate.commit_id[:12]}"
    if candidate.is_changed:
        return f"commit {candidate.commit_id[:12]} changes objects that its audit has not seen"
    if not candidate.has_destination:
        return "the destination moved since the branch was made, so the audit does not cover the result of a merge"
    return ""


def read_candidate(lake: Repository, source: str, into: str) -> MergeCandidate:
    """Read from lakeFS what `refusal_reason` needs to know about a reference.

    Raises:
        ServerException: lakeFS refuses or fails.
    """
    head = lake.ref(source).get_commit()
    parents = tuple(head.parents)
    return MergeCandidate(
        head.id,
        parents,
        dict(head.metadata or {}),
        is_changed=bool(parents) and is_different(lake, parents[0], head.id),
        # A three-dot diff lists what changed on the destination since the two diverged.
        has_destination=next(iter(lake.ref(head.id).diff(into, max_amount=1, type="three_dot")), None) is None,
    )


def is_different(lake: Repository, left: str, right: str, prefix: str = "") -> bool:
    """Return whether any object below a prefix differs between two references."""
    changes = lake.ref(left).diff(right, max_amount=1, prefix=prefix, type="two_dot")
    return next(iter(changes), None) is not None
