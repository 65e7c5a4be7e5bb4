"""Bring `main` back to an earlier commit or tag by a new commit; the history stays complete.

The later publications are reverted, newest first, on a branch made for it. When that branch equals
the target object for object, the target's audit is valid for it as well, and it is published like
every other branch. So a rollback can be rolled back, and a killed one continues where it stopped.
"""

from __future__ import annotations

from itertools import takewhile

from lakefs import Branch, Repository
from lakefs.exceptions import NotFoundException
from lakefs.models import Commit

from common.clients.lakefs import MAIN, lake_errors, repository
from common.clients.lakefs_protection import ACTION
from common.errors import ConfigurationError
from common.settings import Settings
from tickhouse.lake import audit_verdict
from tickhouse.lake.branches import merge_audited, record_audit


def rollback(settings: Settings, to: str) -> str:
    """Make `main` equal to a commit or tag of its history; return the new head.

    Idempotent: if `main` is equal already, nothing changes.

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
        record_audit(settings, name, of=reverted, ok=True, report=report, days=days)
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
