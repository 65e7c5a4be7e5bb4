"""Branches of the lake: create, commit, record an audit, publish to `main`.

The nightly batch uses them in this order. Each step is idempotent, so that a retried task or a
second run changes nothing:

1. `ensure_work_branch` makes a branch that contains all of `ingest` and all of `main`.
2. The batch writes to it, and `commit` commits.
3. The audit reads that commit, and `record_audit` adds its verdict as an empty commit.
4. `merge_audited` merges into `main` and tags; it refuses what is not audited
   (`audit_verdict.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from lakefs import Branch, Repository
from lakefs.exceptions import BadRequestException, ConflictException
from lakefs.models import Commit

from common.clients.lakefs import INGEST, MAIN, lake_errors, repository
from common.errors import AuditMissing, BranchOvertaken, ConfigurationError
from common.market_kind import kind_of
from common.settings import Settings
from tickhouse.lake import audit_verdict

BRONZE = "bronze/"
# Tags never move: the second publication of a day is tagged daily-…-2. No day is published more
# often than this.
MAX_TAGS = 1000


def head(settings: Settings, ref: str) -> str:
    """Return the commit id of a branch, tag or commit.

    Raises:
        ConfigurationError: There is no reference of that name.
        StoreUnavailable: lakeFS does not answer.
    """
    with lake_errors(settings):
        return str(repository(settings).ref(ref).get_commit().id)


def ensure_branch(settings: Settings, name: str, source: str) -> str:
    """Create a branch from a reference unless it exists; return its head.

    Raises:
        ConfigurationError: The source does not exist, or the name is invalid.
        StoreUnavailable: lakeFS does not answer.
    """
    with lake_errors(settings):
        return str(repository(settings).branch(name).create(source, exist_ok=True).head.id)


def delete(settings: Settings, name: str) -> None:
    """Delete a branch; commits that a tag or another branch contains stay.

    Raises:
        ConfigurationError: There is no such branch, or it is protected.
        StoreUnavailable: lakeFS does not answer.
    """
    with lake_errors(settings):
        repository(settings).branch(name).delete()


def ensure_work_branch(settings: Settings, name: str, source: str = INGEST, onto: str = MAIN) -> str:
    """Create a branch that contains two others, or bring it up to date with them; return its head.

    A rollback removes bronze files from `main`, and merging that `main` would remove them from the
    branch as well. Bronze is kept as received and is never wrong, so the files that `source` has
    are copied back.

    Raises:
        ConfigurationError: A branch does not exist, or the two changed the same object.
        StoreUnavailable: lakeFS does not answer.
    """
    with lake_errors(settings):
        lake = repository(settings)
        branch = lake.branch(name).create(source, exist_ok=True)
        for other in (source, onto):
            _merge_in(lake, branch, other)
        _restore_bronze(lake, branch, source)
        return str(branch.head.id)


def merge(settings: Settings, source: str, into: str) -> str:
    """Merge a reference into a branch that is not protected; return its head.

    Raises:
        ConfigurationError: Both changed the same object, or one does not exist.
        StoreUnavailable: lakeFS does not answer.
    """
    with lake_errors(settings):
        lake = repository(settings)
        _merge_in(lake, lake.branch(into), source)
        return str(lake.branch(into).head.id)


def _merge_in(lake: Repository, branch: Branch, other: str) -> None:
    try:
        lake.ref(other).merge_into(branch, message=f"Merge {other} into {branch.id}")
    except BadRequestException as error:
        if "no changes" not in str(error):
            raise


def _restore_bronze(lake: Repository, branch: Branch, source: str) -> None:
    changes = branch.diff(source, prefix=BRONZE, type="two_dot")
    missing = [change.path for change in changes if change.type == "added"]
    for path in missing:
        lake.ref(source).object(path).copy(branch.id, path)
    if missing:
        branch.commit(f"Restore {len(missing)} bronze files that a rollback removed from main")


def commit(settings: Settings, branch: str, message: str, metadata: Mapping[str, str]) -> str:
    """Commit a branch; return its head, which is the old one when there is nothing to commit.

    Raises:
        ConfigurationError: The branch does not exist or is protected.
        StoreUnavailable: lakeFS does not answer.
    """
    with lake_errors(settings):
        target = repository(settings).branch(branch)
        try:
            return str(target.commit(message, metadata=dict(metadata)).id)
        except BadRequestException as error:
            if "no changes" not in str(error):
                raise
            return str(target.head.id)


def record_audit(
    settings: Settings,
    branch: str,
    *,
    of: str,
    ok: bool,
    report: str,
    days: str = "",
    warnings: Sequence[str] = (),
    more: Mapping[str, str] | None = None,
) -> str:
    """Record the verdict on a branch's newest commit; return the commit that contains the verdict.

    Idempotent: the same verdict again changes nothing. Verdicts that are there stay.

    Args:
        settings: Addresses.
        branch: The branch.
        of: The commit that was audited.
        ok: Whether it passed.
        report: URL of the report.
        days: The audited days, as text of `Days`; empty when it is not known which.
        warnings: Checks that failed but do not block the publication.
        more: Further metadata; keys that begin with `audit_verdict.CARRIED` reach `main`.

    Raises:
        AuditMissing: Something else was written to the branch since `of`.
        StoreUnavailable: lakeFS does not answer.
    """
    verdict = audit_verdict.verdict_metadata(ok=ok, report=report, of=of, days=days, warnings=warnings)
    verdict |= {audit_verdict.MARKET: kind_of(settings.home) or "unknown", **(more or {})}
    with lake_errors(settings):
        lake = repository(settings)
        target = lake.branch(branch)
        newest = target.get_commit()  # type: ignore[no-untyped-call]
        if verdict.items() <= (newest.metadata or {}).items():
            return str(newest.id)
        _check_unchanged(lake, target, str(newest.id), of)
        outcome = "passed" if ok else "failed"
        return str(target.commit(f"Audit of {of[:12]} {outcome}", metadata=verdict, allow_empty=True).id)


def audited_commit(settings: Settings, ref: str) -> str:
    """Return the commit that an audit of a reference is about: below the verdicts at its end.

    Raises:
        ConfigurationError: There is no such reference.
        StoreUnavailable: lakeFS does not answer.
    """
    with lake_errors(settings):
        return audit_verdict.read_verdicts(repository(settings), ref)[1]


def _check_unchanged(lake: Repository, branch: Branch, head: str, of: str) -> None:
    """Refuse a verdict about a commit that is not the newest one below the verdicts."""
    verdicts, audited, _ = audit_verdict.read_verdicts(lake, head)
    is_known = of in {audited, head, *(commit_id for commit_id, _ in verdicts)}
    is_same = is_known and (of == head or not audit_verdict.is_different(lake, of, head))
    if is_same and next(iter(branch.uncommitted(max_amount=1)), None) is None:
        return
    raise AuditMissing(
        f"Branch {branch.id} was written to after commit {of[:12]}, which was audited.",
        safe="No verdict was recorded.",
        next_command=f"tickhouse lake commit {branch.id}",
    )


def merge_audited(settings: Settings, source: str, into: str = MAIN, *, tag: str = "") -> str:
    """Merge a branch whose newest commit is a passed audit, tag the merge, return its commit id.

    Idempotent: a merged branch is not merged again, and a second call finishes what a killed one
    began.

    Raises:
        AuditMissing: No passed audit covers the present content of the branch.
        BranchOvertaken: `into` moved since the branch was made; update the branch with
            `ensure_work_branch`, then build and audit again.
        StoreUnavailable: lakeFS does not answer.
    """
    with lake_errors(settings):
        lake = repository(settings)
        newest = lake.ref(source).get_commit()
        made = merge_of(lake, newest, into) or _merge(lake, source, newest, into)
        if tag:
            _set_tag(lake, tag, made)
        return made


def merge_of(lake: Repository, newest: Commit, into: str) -> str:
    """Return the commit that merged `newest` into a branch; an empty string when there is none."""
    for made in _since(lake, into, newest.creation_date):
        if list(made.parents[1:]) == [newest.id]:
            return str(made.id)
    return ""


def _since(lake: Repository, branch: str, created: int) -> Iterator[Commit]:
    """Yield a branch's commits (first parents), newest first, back to a time in Unix seconds."""
    for made in lake.ref(branch).log(first_parent=True):
        if made.creation_date < created:
            return
        yield made


def _merge(lake: Repository, source: str, newest: Commit, into: str) -> str:
    candidate = audit_verdict.read_candidate(lake, newest.id, into)
    reason = audit_verdict.refusal_reason(candidate)
    if reason:
        raise _refused(source, into, reason, is_overtaken=not candidate.has_destination)
    metadata = {key: value for key, value in candidate.metadata.items() if key.startswith(audit_verdict.CARRIED)}
    try:
        return lake.ref(newest.id).merge_into(into, message=f"Publish {source}", metadata=metadata)
    except ConflictException as error:
        raise _refused(source, into, "it moved at the same moment", is_overtaken=True) from error
    except BadRequestException as error:
        if "no changes" not in str(error):
            raise
        # Another process merged it meanwhile, or there was nothing to publish: `into` contains it.
        return merge_of(lake, newest, into) or str(lake.branch(into).head.id)


def _refused(source: str, into: str, reason: str, *, is_overtaken: bool) -> AuditMissing | BranchOvertaken:
    message = f"{source} was not merged into {into}: {reason}."
    if is_overtaken:
        return BranchOvertaken(message, safe=f"{into} was not changed.", next_command="run the nightly batch again")
    return AuditMissing(message, safe=f"{into} was not changed.", next_command=f"tickhouse lake log {source}")


def tag(settings: Settings, name: str, ref: str) -> str:
    """Tag a reference and return the tag's name; a name that another commit has gets a number.

    Idempotent: a commit that has the tag keeps it.

    Raises:
        ConfigurationError: The reference does not exist, or the name is invalid.
        StoreUnavailable: lakeFS does not answer.
    """
    with lake_errors(settings):
        lake = repository(settings)
        return _set_tag(lake, name, str(lake.ref(ref).get_commit().id))


def _set_tag(lake: Repository, name: str, commit_id: str) -> str:
    for number in range(1, MAX_TAGS):
        chosen = name if number == 1 else f"{name}-{number}"
        try:
            lake.tag(chosen).create(commit_id)
        except ConflictException:
            if lake.tag(chosen).get_commit().id != commit_id:
                continue
        return chosen
    raise ConfigurationError(f"Tag {name} exists {MAX_TAGS} times.", next_command="tickhouse lake tag NAME REF")
