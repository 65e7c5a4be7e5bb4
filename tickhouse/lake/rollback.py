"""Bring `main` back to an earlier commit or tag by a new commit; the history stays complete.

The later publications are reverted, newest first, on a branch made for it. When that branch equals
the target object for object, the target's audit is valid for it as well, and it is published like
every other branch. So a rollback can be rolled back, and a killed one continues where it stopped.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import takewhile

from lakefs import Branch, Repository
from lakefs.exceptions import NotFoundException
from lakefs.models import Commit

from common.clients.lake_files import RefFiles
from common.clients.lakefs import MAIN, lake_errors, repository
from common.clients.lakefs_protection import ACTION
from common.days import day_of
from common.errors import ConfigurationError
from common.settings import Settings
from tickhouse.lake import audit_verdict
from tickhouse.lake.branches import merge_audited, record_audit

# Metadata of the commit that a rollback makes.
REASON, TARGET, UNDONE = "rollback.reason", "rollback.to", "rollback.undone"
_TRADES = "silver/trades/"
_READERS = 8


@dataclass(frozen=True, slots=True)
class UndonePublication:
    """A publication that a rollback undoes."""

    commit_id: str
    committed_at: str
    message: str


@dataclass(frozen=True, slots=True)
class RollbackPreview:
    """What a rollback would change.

    Attributes:
        main: The head of `main`.
        target: The commit whose state would be restored.
        undone: Publications that would be undone, newest first; none when `main` is equal already.
        days: Days whose trades would change, ascending.
        rows_removed: Trades in the files of silver that would go.
        rows_restored: Trades in the files of silver that would come back.
    """

    main: str
    target: str
    undone: tuple[UndonePublication, ...]
    days: tuple[date, ...]
    rows_removed: int
    rows_restored: int


def preview(settings: Settings, to: str) -> RollbackPreview:
    """Return what `rollback` would change; changes nothing.

    Raises:
        ConfigurationError: `to` is not in the history of `main`, or older than its protection.
        StoreUnavailable: The lake does not answer.
    """
    with lake_errors(settings):
        lake = repository(settings)
        target, before = lake.ref(to).get_commit(), lake.branch(MAIN).get_commit()  # type: ignore[no-untyped-call]
        if not audit_verdict.is_different(lake, before.id, target.id):
            return RollbackPreview(str(before.id), str(target.id), (), (), 0, 0)
        _check_target(lake, to, target)
        undone = tuple(
            UndonePublication(str(one.id), datetime.fromtimestamp(one.creation_date, UTC).isoformat(), one.message)
            for one in _publications_since(lake, to, target)
        )
        changes = [
            (change.type, change.path) for change in lake.ref(before.id).diff(target.id, prefix=_TRADES, type="two_dot")
        ]
    days = sorted({day for _, path in changes if (day := day_of(path)) is not None})
    removed = _rows(settings, before.id, (path for kind, path in changes if kind != "added"))
    restored = _rows(settings, target.id, (path for kind, path in changes if kind != "removed"))
    return RollbackPreview(str(before.id), str(target.id), undone, tuple(days), removed, restored)


def _rows(settings: Settings, ref: str, paths: Iterable[str]) -> int:
    files = RefFiles.connect(settings, ref)
    with ThreadPoolExecutor(_READERS) as pool:
        return sum(count or 0 for count in pool.map(files.row_count, paths))


def rollback(settings: Settings, to: str, *, reason: str = "") -> str:
    """Make `main` equal to a commit or tag of its history; return the new head.

    Idempotent: if `main` is equal already, nothing changes.

    Args:
        settings: Addresses.
        to: The commit or tag.
        reason: Why; it is kept in the metadata of the new commit.

    Raises:
        ConfigurationError: `to` is not in the history of `main`, or older than its protection.
        BranchOvertaken: `main` was changed at the same time.
        StoreUnavailable: lakeFS does not answer.
    """
    with lake_errors(settings):
        lake = repository(settings)
        target, before = lake.ref(to).get_commit(), lake.branch(MAIN).get_commit()  # type: ignore[no-untyped-call]
        if not audit_verdict.is_different(lake, before.id, target.id):
            return str(before.id)
        _check_target(lake, to, target)
        undone = _publications_since(lake, to, target)
        name = f"rollback-{before.id[:12]}-to-{target.id[:12]}"
        branch = lake.branch(name).create(before.id, exist_ok=True)
        _revert(lake, branch, undone, before.id)
        reverted = str(branch.head.id)
        if audit_verdict.is_different(lake, reverted, target.id):
            raise ConfigurationError(
                f"Reverting {len(undone)} publications did not give {to}: branch {name} was written to.",
                safe=f"{MAIN} was not changed.",
                next_command=f"tickhouse lake diff {name} {to}",
            )
        earlier = target.metadata or {}
        report, days = earlier.get(audit_verdict.REPORT, ""), earlier.get(audit_verdict.DAYS, "")
        more = {TARGET: to, UNDONE: str(len(undone))} | ({REASON: reason} if reason else {})
        record_audit(settings, name, of=reverted, ok=True, report=report, days=days, more=more)
        return merge_audited(settings, name)


def _check_target(lake: Repository, to: str, target: Commit) -> None:
    try:
        lake.ref(target.id).object(ACTION).stat()
    except NotFoundException as error:
        raise ConfigurationError(
            f"{to} is older than the protection of {MAIN}, so lakeFS would not call the merge gate.",
            safe="Nothing was changed.",
            next_command="tickhouse lake log",
        ) from error


def _publications_since(lake: Repository, to: str, target: Commit) -> list[Commit]:
    """Return the commits of `main` itself after the target, newest first."""
    newer = list(takewhile(lambda made: made.id != target.id, lake.ref(MAIN).log(first_parent=True)))
    if newer and not newer[-1].parents:
        raise ConfigurationError(
            f"{to} is not in the history of {MAIN}.",
            safe="Nothing was changed.",
            next_command="tickhouse lake log main",
        )
    return newer


def _revert(lake: Repository, branch: Branch, undone: list[Commit], before: str) -> None:
    """Revert the publications that are not reverted on the branch yet, one commit each."""
    done = sum(1 for _ in takewhile(lambda made: made.id != before, branch.log(first_parent=True)))
    for made in undone[done:]:
        branch.revert(made.id, parent_number=1 if len(made.parents) > 1 else 0)
