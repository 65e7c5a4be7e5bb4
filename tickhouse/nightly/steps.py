"""Write, audit, publish: what `nightly_batch` does between its Spark job's start and end. Each step may run again.

1. `prepare`: a branch with all of `ingest` and of `main`;
2. (Spark writes silver and gold to it: spark/batch/job.py);
3. `settle`: absent ids beside silver, then the commit;
4. `audit`: the verdict, as Data Docs and in the branch's newest commit;
5. `publish`: the merge into `main`, and a tag a day;
6. `serving.load`: PostgreSQL equal to the merge.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tickhouse.audit.run import Report, audit_lake
from tickhouse.days import Days, day_of
from tickhouse.errors import AuditFailed
from tickhouse.lake import audit as verdicts
from tickhouse.lake.branches import commit, ensure_work_branch, head, merge_audited, record_audit, tag
from tickhouse.lake.client import INGEST, lake_errors, repository
from tickhouse.lake.looking import exists
from tickhouse.nightly.absent import Absent, known_absent, tables_of, to_parquet
from tickhouse.reconcile.lake import connect
from tickhouse.settings import Settings


@dataclass(frozen=True, slots=True)
class Published:
    """A merge into `main`: its commit and the tags that name it."""

    commit_id: str
    tags: list[str]


def branch_of(days: Days) -> str:
    """Return the name of the branch that builds these days."""
    return f"etl-{days.first}" if len(days) == 1 else f"etl-{days.first}-to-{days.last}"


def prepare(settings: Settings, days: Days) -> str | None:
    """Make the branch, or bring it up to date; return its name, or None when the lake has no trade of these days.

    What an earlier run left uncommitted is thrown away.

    Raises:
        StoreUnavailable: The lake does not answer.
    """
    named = connect(settings, head(settings, INGEST)).bronze("trades").files
    if not any(day_of(one.path) in days for one in named):
        return None
    name = branch_of(days)
    if exists(settings, name):
        with lake_errors(settings):
            repository(settings).branch(name).reset_changes()
    ensure_work_branch(settings, name)
    return name


def settle(settings: Settings, branch: str, days: Days, *, absent: Callable[[Settings], Absent] = known_absent) -> str:
    """Write the absent ids and commit the branch; return its head.

    Args:
        settings: Addresses.
        branch: The branch.
        days: The days it builds.
        absent: Tells the absent ids by reason and stream.

    Raises:
        StoreUnavailable: The lake or Kafka does not answer.
    """
    tables = tables_of(connect(settings, branch), days, absent(settings))
    with lake_errors(settings):
        target = repository(settings).branch(branch)
        for path, table in tables.items():
            target.object(path).upload(to_parquet(table), mode="wb")
    return commit(settings, branch, f"Build silver and gold of {days}", {"batch.days": str(days)})


def audit(settings: Settings, branch: str, days: Days) -> Report:
    """Audit the branch's head and record the verdict there; a head that carries a passed audit is not audited again.

    Raises:
        StoreUnavailable: The lake does not answer.
    """
    newest = head(settings, branch)
    known = passed(settings, newest, days)
    if known is not None:
        return known
    report = audit_lake(settings, newest, days)
    record_audit(settings, branch, of=newest, ok=report.ok, report=report.url)
    return report


def require_passed(report: Report, branch: str) -> Report:
    """Return a report that passed.

    Raises:
        AuditFailed: A law does not hold; the message names each, and the report.
    """
    if report.ok:
        return report
    raise AuditFailed(
        f"{branch} breaks {len(report.broken)} laws: {'; '.join(report.broken)}",
        safe=f"main has not moved. The branch stays as it is. Report: {report.url}",
        next_command=f"tickhouse lake log {branch}",
    )


def failed_report(settings: Settings, days: Days) -> str:
    """Return the report that the days' branch carries as a failed audit; empty when there is none.

    Raises:
        StoreUnavailable: The lake does not answer.
    """
    name = branch_of(days)
    if not exists(settings, name):
        return ""
    with lake_errors(settings):
        metadata = dict(repository(settings).ref(name).get_commit().metadata or {})
    return str(metadata[verdicts.REPORT]) if metadata.get(verdicts.OK) == "false" else ""


def passed(settings: Settings, commit_id: str, days: Days) -> Report | None:
    """Return the report of a commit that is itself the record of a passed audit."""
    with lake_errors(settings):
        metadata: dict[str, Any] = dict(repository(settings).ref(commit_id).get_commit().metadata or {})
    if metadata.get(verdicts.OK) != "true":
        return None
    return Report(metadata[verdicts.OF], "lake", str(days), ok=True, url=metadata[verdicts.REPORT], broken=())


def publish(settings: Settings, branch: str, days: Days) -> Published:
    """Merge the audited branch into `main` and tag the merge `daily-<day>` for each day.

    Raises:
        AuditMissing: The branch's head carries no passed audit.
        BranchOvertaken: `main` moved meanwhile: the run must begin anew.
        StoreUnavailable: The lake does not answer.
    """
    made = merge_audited(settings, branch)
    return Published(made, [tag(settings, f"daily-{day}", made) for day in days])
