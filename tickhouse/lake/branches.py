"""Branches of the lake: make, commit, audit, publish to `main`.

The nightly flow, each step idempotent, so that a retried task or a second run changes nothing:

1. `ensure_work_branch`: a branch that holds all of `ingest` and all of `main`.
2. the batch writes, `commit` commits.
3. the audit reads that commit; `record_audit` writes its verdict on top, as an empty commit.
4. `merge_audited` merges into `main` and tags; what is not audited is refused (`audit.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from lakefs import Branch, Repository
from lakefs.exceptions import BadRequestException, ConflictException
from lakefs.models import Commit

from tickhouse.errors import AuditMissing, BranchOvertaken, ConfigurationError
from tickhouse.lake import audit
from tickhouse.lake.client import INGEST, MAIN, lake_errors, repository
from tickhouse.settings import Settings

BRONZE = "bronze/"
# Tags never move: the second publication of a day is daily-…-2. Nobody publishes a day more often than this.
MAX_TAGS = 1000


def head(settings: Settings, ref: str) -> str:
    """Return the commit id of a branch, tag or commit.

    Raises:
        ConfigurationError: There is none of that name.
        StoreUnavailable: lakeFS does not answer.
    """
    with lake_errors(settings):
        return str(repository(settings).ref(ref).get_commit().id)


def ensure_branch(settings: Settings, name: str, source: str) -> str:
    """Make a branch from a reference unless it exists; return its head.

    Raises:
        ConfigurationError: The source does not exist or the name is not one.
        StoreUnavailable: lakeFS does not answer.
    """
    with lake_errors(settings):
        return str(repository(settings).branch(name).create(source, exist_ok=True).head.id)


def delete(settings: Settings, name: str) -> None:
    """Delete a branch; its commits stay as long as a tag or another branch holds them.

    Raises:
        ConfigurationError: There is no such branch, or it is protected.
        StoreUnavailable: lakeFS does not answer.
    """
    with lake_errors(settings):
        repository(settings).branch(name).delete()


def ensure_work_branch(settings: Settings, name: str, source: str = INGEST, onto: str = MAIN) -> str:
    """Make a branch that holds all of two others, or bring it up to date with them; return its head.

    A rollback takes bronze files off `main`, and a merge of that `main` would take them off the branch as well.
    Bronze is as received and never wrong, so what `source` has of it is put back.

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
        branch.commit(f"Put back {len(missing)} bronze files that a rollback took off main")


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


def record_audit(settings: Settings, branch: str, *, of: str, ok: bool, report: str) -> str:
    """Record the verdict on a branch's newest commit; return the commit that carries it.

    Idempotent: the same verdict again changes nothing.

    Args:
        branch: The branch.
        of: The commit that was audited.
        ok: Whether it passed.
        report: URL of the report.

    Raises:
        AuditMissing: Something else was written to the branch since `of`.
        StoreUnavailable: lakeFS does not answer.
    """
    verdict = audit.facts(ok=ok, report=report, of=of)
    with lake_errors(settings):
        target = repository(settings).branch(branch)
        newest = target.get_commit()  # type: ignore[no-untyped-call]
        if verdict.items() <= (newest.metadata or {}).items():
            return str(newest.id)
        _check_unchanged(target, newest, of)
        said = "passed" if ok else "failed"
        return str(target.commit(f"Audit of {of[:12]} {said}", metadata=verdict, allow_empty=True).id)


def _check_unchanged(branch: Branch, newest: Commit, of: str) -> None:
    is_verdict_on_it = (newest.metadata or {}).get(audit.OF) == of
    if (newest.id == of or is_verdict_on_it) and next(iter(branch.uncommitted(max_amount=1)), None) is None:
        return
    raise AuditMissing(
        f"Branch {branch.id} was written to after commit {of[:12]}, which was audited.",
        safe="No verdict was recorded.",
        next_command=f"tickhouse lake commit {branch.id}",
    )


def merge_audited(settings: Settings, source: str, into: str = MAIN, *, tag: str = "") -> str:
    """Merge a branch whose newest commit is a passed audit, and tag the merge; return the merge's commit id.

    Idempotent: what was merged already is not merged again, and a second call ends what a killed one began.

    Raises:
        AuditMissing: The branch is not what a passed audit has seen.
        BranchOvertaken: `into` moved since the branch was made: `ensure_work_branch`, build and audit again.
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
    """Return the commit that merged another into a branch; empty when none did."""
    for made in _since(lake, into, newest.creation_date):
        if list(made.parents[1:]) == [newest.id]:
            return str(made.id)
    return ""


def _since(lake: Repository, branch: str, created: int) -> Iterator[Commit]:
    """Yield a branch's own commits (its first parents), newest first, back to a time in seconds since the epoch."""
    for made in lake.ref(branch).log(first_parent=True):
        if made.creation_date < created:
            return
        yield made


def _merge(lake: Repository, source: str, newest: Commit, into: str) -> str:
    found = audit.candidate(lake, newest.id, into)
    reason = audit.refusal(found)
    if reason:
        raise _refused(source, into, reason, is_overtaken=not found.has_destination)
    metadata = {key: value for key, value in found.metadata.items() if key.startswith(audit.PREFIX)}
    try:
        return lake.ref(newest.id).merge_into(into, message=f"Publish {source}", metadata=metadata)
    except ConflictException as error:
        raise _refused(source, into, "it moved in this very moment", is_overtaken=True) from error
    except BadRequestException as error:
        if "no changes" not in str(error):
            raise
        # Merged by somebody else meanwhile, or there was nothing to publish: `into` holds it.
        return merge_of(lake, newest, into) or str(lake.branch(into).head.id)


def _refused(source: str, into: str, reason: str, *, is_overtaken: bool) -> AuditMissing | BranchOvertaken:
    message = f"{source} was not merged into {into}: {reason}."
    if is_overtaken:
        return BranchOvertaken(message, safe=f"{into} is as it was.", next_command="run the nightly batch again")
    return AuditMissing(message, safe=f"{into} is as it was.", next_command=f"tickhouse lake log {source}")


def tag(settings: Settings, name: str, ref: str) -> str:
    """Tag a reference and return the tag's name; a name that is taken by another commit gets a number.

    Idempotent: a commit that has the tag keeps it.

    Raises:
        ConfigurationError: The reference does not exist or the name is not one.
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
