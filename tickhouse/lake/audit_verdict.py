"""An audit's verdict in commit metadata, and the rule that only audited data reaches `main`.

A verdict is recorded as an empty commit on the audited branch. Verdicts follow each other: an audit
of other days, or a second one of the same days, adds a commit and replaces none. Below the verdicts
is the commit that they are about. A reference may be merged into `main` if all of this is true:

- its newest commit is a verdict, and the audit passed;
- the verdict is about the commit below the verdicts;
- no verdict changes an object;
- for each day, the newest verdict that covers it passed: a failed audit of one day is not replaced
  by a passed one of another day;
- the verdicts that passed cover the days that the commit says it built;
- the reference contains everything that is on `main`.

Then the merge gives exactly the tree that was audited, byte for byte.

Two places check this rule: `branches.merge_audited` before it merges, and the webhook of
`merge_gate.py`, which lakeFS calls for every other client.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Final

from common.days import Days

if TYPE_CHECKING:  # the SDK takes half a second to import, and `tickhouse status` needs names only
    from lakefs import Repository

OK = "audit.ok"
REPORT = "audit.report"
OF = "audit.of"
# The audited days: `2024-08-08` or `2024-08-08..2024-08-09`. Verdicts of earlier versions lack it.
DAYS = "audit.days"
WARNINGS = "audit.warnings"
PREFIX = "audit."
# `real` or `simulated`: kept with the verdict in the commit of `main` that a tag names.
MARKET = "audit.market"
# Metadata of a verdict that its merge into `main` carries as well.
CARRIED = (PREFIX, "rollback.")
# The days that a build made, in the metadata of its commit.
BUILT_DAYS = "batch.days"
# Verdicts about one commit that are read; there are two or three. More are refused.
MOST_VERDICTS: Final = 100


@dataclass(frozen=True, slots=True)
class MergeCandidate:
    """The reference that is to be merged into a branch.

    Attributes:
        commit_id: Its newest commit.
        verdicts: The verdicts, newest first: commit id and metadata of each.
        audited: The commit below them; its id.
        built_days: The days that this commit says it built; empty when it says none.
        is_changed: Whether a verdict changes any object of the audited commit.
        has_destination: Whether the reference contains every change of the destination branch.
    """

    commit_id: str
    verdicts: tuple[tuple[str, Mapping[str, str]], ...]
    audited: str
    built_days: str
    is_changed: bool
    has_destination: bool

    @property
    def metadata(self) -> Mapping[str, str]:
        """Return the metadata of the newest verdict; empty when the newest commit is none."""
        return self.verdicts[0][1] if self.verdicts else {}


# Metadata is read with every commit, so it holds the first warnings only, each cut to this many
# characters. The report has all of them.
MOST_WARNINGS, MOST_CHARACTERS = 20, 300


def verdict_metadata(*, ok: bool, report: str, of: str, days: str = "", warnings: Sequence[str] = ()) -> dict[str, str]:
    """Return the commit metadata that records an audit.

    The warnings are stored as a JSON list; without warnings that key is absent.
    """
    verdict = {OK: "true" if ok else "false", REPORT: report, OF: of} | ({DAYS: days} if days else {})
    if not warnings:
        return verdict
    shown = [warning[:MOST_CHARACTERS] for warning in warnings[:MOST_WARNINGS]]
    if left := len(warnings) - len(shown):
        shown.append(f"and {left} more in the report")
    return verdict | {WARNINGS: json.dumps(shown, ensure_ascii=False)}


def warnings_in(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """Return the warnings that a commit records."""
    return tuple(json.loads(metadata.get(WARNINGS, "[]")))


def days_in(text: str) -> tuple[date, ...]:
    """Return the days of a text of `Days`, such as `2024-08-08..2024-08-09` (pure); else none."""
    first, _, last = text.partition("..")
    try:
        return tuple(Days(date.fromisoformat(first), date.fromisoformat(last or first)))
    except ValueError:
        return ()


def newest_by_day(verdicts: Iterable[tuple[str, Mapping[str, str]]]) -> dict[date, Mapping[str, str]]:
    """Return the newest verdict that covers each day, from verdicts, newest first (pure)."""
    newest: dict[date, Mapping[str, str]] = {}
    for _, metadata in verdicts:
        for day in days_in(metadata.get(DAYS, "")):
            newest.setdefault(day, metadata)
    return newest


def refusal_reason(candidate: MergeCandidate) -> str:
    """Return why a candidate may not be merged; an empty string when it may be (pure)."""
    return next(_reasons(candidate), "")


def _reasons(candidate: MergeCandidate) -> Iterator[str]:
    metadata, of = candidate.metadata, candidate.metadata.get(OF, "")
    if not candidate.verdicts:
        yield f"commit {candidate.commit_id[:12]} has no audit"
    elif len(candidate.verdicts) >= MOST_VERDICTS:
        yield f"commit {candidate.audited[:12]} has {len(candidate.verdicts)} verdicts or more"
    elif metadata[OK] != "true":
        yield f"the audit of {_subject(metadata)} failed, see {metadata.get(REPORT) or 'no report'}"
    # A verdict of an earlier version may be about the verdict below it, which has the same objects.
    if of not in {candidate.audited, *(commit_id for commit_id, _ in candidate.verdicts[1:])}:
        yield f"the audit is of {of[:12]}, which is not the parent of {candidate.commit_id[:12]}"
    if candidate.is_changed:
        yield f"commit {candidate.commit_id[:12]} changes objects that its audit has not seen"
    yield from _days_refused(candidate)
    if not candidate.has_destination:
        yield "the destination moved since the branch was made, so the audit does not cover the result of a merge"


def _subject(metadata: Mapping[str, str]) -> str:
    days = metadata.get(DAYS)
    return f"{days} at {metadata.get(OF, '')[:12]}" if days else metadata.get(OF, "")[:12]


def _days_refused(candidate: MergeCandidate) -> Iterator[str]:
    newest = newest_by_day(candidate.verdicts)
    for day, metadata in sorted(newest.items()):
        if metadata[OK] != "true":
            report = metadata.get(REPORT) or "no report"
            yield f"the newest audit of {day} failed, see {report}; the later ones are of other days"
    # A verdict without days is of an earlier version, and is about all that the commit built.
    if DAYS in candidate.metadata:
        for day in days_in(candidate.built_days):
            if day not in newest:
                yield f"commit {candidate.audited[:12]} built {day}, which no audit covers"


def read_candidate(lake: Repository, source: str, into: str) -> MergeCandidate:
    """Read from lakeFS what `refusal_reason` needs to know about a reference.

    Raises:
        ServerException: lakeFS refuses or fails.
    """
    head = str(lake.ref(source).get_commit().id)
    verdicts, audited, built_days = read_verdicts(lake, head)
    return MergeCandidate(
        head,
        verdicts,
        audited,
        built_days,
        is_changed=bool(verdicts) and is_different(lake, audited, head),
        # A three-dot diff lists what changed on the destination since the two diverged.
        has_destination=next(iter(lake.ref(head).diff(into, max_amount=1, type="three_dot")), None) is None,
    )


def read_verdicts(lake: Repository, ref: str) -> tuple[tuple[tuple[str, Mapping[str, str]], ...], str, str]:
    """Return the verdicts at the end of a reference, newest first, and what they are about.

    A merge carries the metadata of the verdict that it merged, and is none itself.

    Returns:
        Id and metadata of each verdict; the id of the commit below them; the days that it built.

    Raises:
        ServerException: lakeFS refuses or fails.
    """
    verdicts: list[tuple[str, Mapping[str, str]]] = []
    for made in lake.ref(ref).log(max_amount=MOST_VERDICTS + 1, first_parent=True):
        metadata = dict(made.metadata or {})
        if OK not in metadata or len(made.parents) != 1 or len(verdicts) == MOST_VERDICTS:
            return tuple(verdicts), str(made.id), metadata.get(BUILT_DAYS, "")
        verdicts.append((str(made.id), metadata))
    return tuple(verdicts), verdicts[-1][0] if verdicts else ref, ""


def is_different(lake: Repository, left: str, right: str, prefix: str = "") -> bool:
    """Return whether any object below a prefix differs between two references."""
    changes = lake.ref(left).diff(right, max_amount=1, prefix=prefix, type="two_dot")
    return next(iter(changes), None) is not None
