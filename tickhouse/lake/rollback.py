"""Bring `main` back to what it was at a commit or tag, by a new commit: nothing is taken out of the history.

The publications since are reverted, newest first, on a branch of their own. When that branch equals the target object
for object, the target's audit holds for it too, and it is published like everything else. So a rollback can be rolled
back, and a killed one goes on where it was.
"""

from __future__ import annotations

from itertools import takewhile

from lakefs import Branch, Repository
from lakefs.exceptions import NotFoundException
from lakefs.models import Commit

from tickhouse.errors import ConfigurationError
from tickhouse.lake import audit
from tickhouse.lake.branches import merge_audited, record_audit
from tickhouse.lake.client import MAIN, lake_errors, repository
from tickhouse.lake.protect import ACTION
from tickhouse.settings import Settings


def rollback(settings: Settings, to: str) -> str:
    """Make `main` hold exactly what a commit or tag of its past holds; return the new head.

    Idempotent: a `main` that holds it already is left alone.

    Raises:
        ConfigurationError: `to` is not in the past of `main`, or older than its protection.
        BranchOvertaken: `main` moved meanwhile.
        StoreUnavailable: lakeFS does not answer.
    """
    with lake_errors(settings):
        lake = repository(settings)
        target, before = lake.ref(to).get_commit(), lake.branch(MAIN).get_commit()  # type: ignore[no-untyped-call]
        if not audit.is_different(lake, before.id, target.id):
            return str(before.id)
        _check_target(lake, to, target)
        undone = _publications_since(lake, to, target)
        name = f"rollback-{before.id[:12]}-to-{target.id[:12]}"
        branch = lake.branch(name).create(before.id, exist_ok=True)
        _revert(lake, branch, undone, before.id)
        reverted = str(branch.head.id)
        if audit.is_different(lake, reverted, target.id):
            raise ConfigurationError(
                f"Reverting {len(undone)} publications did not give {to}: branch {name} was written to.",
                safe=f"{MAIN} is as it was.",
                next_command=f"tickhouse lake diff {name} {to}",
            )
        record_audit(settings, name, of=reverted, ok=True, report=(target.metadata or {}).get(audit.REPORT, ""))
        return merge_audited(settings, name)


def _check_target(lake: Repository, to: str, target: Commit) -> None:
    try:
        lake.ref(target.id).object(ACTION).stat()
    except NotFoundException as error:
        raise ConfigurationError(
            f"{to} is older than the protection of {MAIN}.",
            safe="Nothing was changed.",
            next_command="tickhouse lake log",
        ) from error


def _publications_since(lake: Repository, to: str, target: Commit) -> list[Commit]:
    """Return the commits of `main` itself after the target, newest first."""
    newer = list(takewhile(lambda made: made.id != target.id, lake.ref(MAIN).log(first_parent=True)))
    if newer and not newer[-1].parents:
        raise ConfigurationError(
            f"{to} is not in the past of {MAIN}.", safe="Nothing was changed.", next_command="tickhouse lake log main"
        )
    return newer


def _revert(lake: Repository, branch: Branch, undone: list[Commit], before: str) -> None:
    """Revert on the branch what is not reverted yet, one commit each."""
    done = sum(1 for _ in takewhile(lambda made: made.id != before, branch.log(first_parent=True)))
    for made in undone[done:]:
        branch.revert(made.id, parent_number=1 if len(made.parents) > 1 else 0)
