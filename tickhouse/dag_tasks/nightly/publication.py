"""The steps of DAG `nightly_batch`: write, audit, publish. Each may run again.

1. `prepare` creates a branch with all of `ingest` and of `main`.
2. Spark writes silver and gold to it (spark/batch/job.py).
3. `commit_build` writes the missing ids beside silver and commits the branch.
4. `audit` writes its report to the Data Docs, and its verdict as a commit of the branch.
5. `publish` merges the branch into `main` and tags the merge once per day.
6. `daily_tables.load` makes PostgreSQL's tables equal to the merge.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date

import structlog

from common.clients.lake_files import RefFiles
from common.clients.lakefs import INGEST, lake_errors, repository
from common.days import Days, day_of
from common.errors import AuditFailed, ConfigurationError
from common.market_kind import kind_of
from common.settings import Settings
from tickhouse.checks.audit.run import AuditReport, audit_lake
from tickhouse.dag_tasks.nightly.missing_ids import MissingIds, known_missing, missing_ids_parquet, tables_of
from tickhouse.lake import audit_verdict as verdicts
from tickhouse.lake.branches import audited_commit, commit, ensure_work_branch, head, merge_audited, record_audit, tag
from tickhouse.lake.ingest_commit import newest_ingest_commit
from tickhouse.lake.refs import exists
from tickhouse.lineage.events import record
from tickhouse.lineage.publication_page import write_publication_page
from tickhouse.lineage.runs import build_run, publish_run

# Metadata of a commit: `real` or `simulated`.
MARKET = "market"
log = structlog.get_logger("tickhouse.dag_tasks")


@dataclass(frozen=True, slots=True)
class Published:
    """A merge into `main`: its commit id, and the tags that name it."""

    commit_id: str
    tags: list[str]


def branch_of(days: Days) -> str:
    """Return the name of the branch that builds these days."""
    return f"etl-{days.first}" if len(days) == 1 else f"etl-{days.first}-to-{days.last}"


def prepare(settings: Settings, days: Days) -> str | None:
    """Create or update the branch; return its name, None when the lake has no trade of these days.

    Uncommitted changes that an earlier run left on the branch are dropped.

    Raises:
        ConfigurationError: Retention has removed bronze of one of the days.
        StoreUnavailable: The lake does not answer.
    """
    bronze = RefFiles.connect(settings, head(settings, INGEST)).bronze("trades", days)
    for line in bronze.notes():
        log.warning("manifest_problem", problem=line)
    if not any(day_of(file.path) in days for file in bronze.files):
        return None
    _require_whole_bronze(days, bronze.forgotten)
    name = branch_of(days)
    if exists(settings, name):
        with lake_errors(settings):
            repository(settings).branch(name).reset_changes()
    ensure_work_branch(settings, name)
    return name


def _require_whole_bronze(days: Days, forgotten: set[date]) -> None:
    """Refuse days whose bronze was removed.

    Silver made only of the trades that came later would replace silver of the whole day.
    """
    removed = sorted(day for day in days if day in forgotten)
    if removed:
        raise ConfigurationError(
            f"Bronze of {', '.join(map(str, removed))} was removed after it was published; only late trades are left.",
            safe="Silver and gold of these days stay as published; the late trades stay in bronze.",
            next_command="tickhouse lake log main",
        )


def commit_build(
    settings: Settings, branch: str, days: Days, *, missing: Callable[[Settings], MissingIds] = known_missing
) -> str:
    """Write the missing ids and commit the branch; return the commit id.

    Args:
        settings: Addresses.
        branch: The branch.
        days: The days that it builds.
        missing: Returns the missing ids.

    Raises:
        StoreUnavailable: The lake or Kafka does not answer.
    """
    tables = tables_of(RefFiles.connect(settings, branch), days, missing(settings))
    with lake_errors(settings):
        target = repository(settings).branch(branch)
        for path, table in tables.items():
            target.object(path).upload(missing_ids_parquet(table), mode="wb")
    kind = kind_of(settings.home) or "unknown"
    made = commit(settings, branch, f"Build silver and gold of {days}", {verdicts.BUILT_DAYS: str(days), MARKET: kind})
    record(settings, build_run(settings, newest_ingest_commit(settings, made), made, days))
    return made


def audit(settings: Settings, branch: str, days: Days) -> AuditReport:
    """Audit the head of the branch and record the verdict in a commit; return the report.

    Days of which the newest audit of this commit passed are not audited again.

    Raises:
        StoreUnavailable: The lake does not answer.
    """
    newest = audited_commit(settings, branch)
    earlier_report = passed_audit(settings, branch, days)
    if earlier_report is not None:
        return earlier_report
    report = audit_lake(settings, newest, days, branch)
    record_audit(settings, branch, of=newest, ok=report.ok, report=report.url, days=str(days), warnings=report.warnings)
    return report


def require_passed(report: AuditReport, branch: str, days: Days) -> AuditReport:
    """Return the report if the audit passed.

    Raises:
        AuditFailed: A law does not hold; the message names each broken law and the report.
    """
    if report.ok:
        return report
    raise AuditFailed(
        f"{branch} did not pass the audit: {'; '.join(report.broken)}",
        broken=report.broken,
        report=report.url,
        days=(str(days.first), str(days.last)),
        safe=f"main has not moved. The branch stays unchanged. Report: {report.url}",
        next_command=f"tickhouse lake log {branch}",
    )


def passed_audit(settings: Settings, branch: str, days: Days) -> AuditReport | None:
    """Return the report of the audit by which a branch may be merged, if it covers the days.

    None when the newest verdict did not pass or is of other days.
    """
    with lake_errors(settings):
        found, of, _ = verdicts.read_verdicts(repository(settings), branch)
    metadata: Mapping[str, str] = found[0][1] if found else {}
    if metadata.get(verdicts.OK) != "true" or metadata.get(verdicts.DAYS) != str(days):
        return None
    url, warnings = metadata[verdicts.REPORT], verdicts.warnings_in(metadata)
    return AuditReport(of, "lake", str(days), ok=True, url=url, broken=(), warnings=warnings, verdict="passed")


def publish(settings: Settings, branch: str, days: Days) -> Published:
    """Merge the audited branch into `main` and tag the merge `daily-<day>` for each day.

    Raises:
        AuditMissing: The branch's head carries no passed audit.
        BranchOvertaken: `main` moved meanwhile, so the run must start again.
        StoreUnavailable: The lake does not answer.
    """
    with lake_errors(settings):
        verdict = dict(repository(settings).ref(branch).get_commit().metadata or {})
    merge_id = merge_audited(settings, branch)
    record(settings, publish_run(settings, verdict.get(verdicts.OF, merge_id), merge_id, days))
    write_publication_page(settings, merge_id, days)
    return Published(merge_id, [tag(settings, f"daily-{day}", merge_id) for day in days])
