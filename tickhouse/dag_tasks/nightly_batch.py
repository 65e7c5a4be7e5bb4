"""The tasks of DAG `nightly_batch`: parameters in, JSON for the next task out.

The steps themselves are in `nightly/publication.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import structlog
from airflow.sdk.exceptions import AirflowSkipException

from common.clients.lakefs import MAIN as MAIN_BRANCH
from common.days import Days
from common.errors import StoreUnavailable, UnknownName
from common.settings import Settings, load_settings
from common.topics import ALERTS
from tickhouse.checks.audit.run import AuditReport
from tickhouse.dag_tasks import alerts, daily_tables
from tickhouse.dag_tasks.assets import DAILY_TABLES, MAIN
from tickhouse.dag_tasks.links import AllReportsLink, AuditReportLink, LakeCommitLink, commit_url
from tickhouse.dag_tasks.nightly import publication
from tickhouse.dag_tasks.nightly.missed_nights import build_missed
from tickhouse.dag_tasks.notes import MAX_NOTE_LENGTH
from tickhouse.dag_tasks.run_context import RunDays, days_in, days_of_run
from tickhouse.dag_tasks.run_report import RunReport, short
from tickhouse.lake.branches import head

# Warnings that the note of a run lists.
NOTED_WARNINGS = 3
log = structlog.get_logger("nightly")


def prepare(params: Mapping[str, Any], dag_run: Any) -> dict[str, str]:
    """Create the branch; return its name, the days, and the head of `main` before the run.

    Raises:
        AirflowSkipException: The lake has no trade of the night.
        ConfigurationError: The parameters are wrong.
        UnknownName: The lake has no trade of the days that a person chose.
    """
    settings, chosen = load_settings(), days_of_run(params, dag_run)
    report = RunReport.current(settings)
    report.say(f"This run builds {chosen.days} ({chosen.why}).")
    main_before = head(settings, MAIN_BRANCH)
    branch = publication.prepare(settings, chosen.days)
    if branch is None:
        raise _no_trades(chosen, report)
    report.say(f"Branch {branch} has all of ingest and of main (main is at {short(main_before)}).")
    days = chosen.days
    return {"branch": branch, "first": str(days.first), "last": str(days.last), "main_before": main_before}


def _no_trades(chosen: RunDays, report: RunReport) -> Exception:
    """Return the error of a run without trades: a failure if a person chose the days."""
    text = f"The lake has no trade of {chosen.days}, so nothing was built."
    if chosen.is_chosen:
        return UnknownName(
            text, safe="main has not moved.", next_command="bring the trades with DAG backfill or tickhouse replay"
        )
    report.note(text)
    return AirflowSkipException(text)


def missed(params: Mapping[str, Any], dag_run: Any) -> list[str]:
    """Start a run for each missed night; return the ids of the runs.

    Raises:
        AirflowSkipException: The days of this run were chosen.
    """
    chosen = days_of_run(params, dag_run)
    if chosen.is_chosen or dag_run.run_type == "backfill":
        raise AirflowSkipException("The days of this run were chosen, so it does not search for missed nights.")
    settings = load_settings()
    runs = build_missed(settings, chosen.days.last)
    RunReport.current(settings).say(f"Started {len(runs)} runs for nights that were missed: {', '.join(runs) or '-'}.")
    return runs


def settle(prepared: Mapping[str, str]) -> str:
    """Commit the branch; return the commit id."""
    settings = load_settings()
    commit_id = publication.commit_build(settings, prepared["branch"], days_in(prepared))
    report = RunReport.current(settings)
    report.say(f"Committed silver and gold of {days_in(prepared)} on {prepared['branch']} as {short(commit_id)}.")
    report.link(LakeCommitLink.name, commit_url(settings, commit_id))
    return commit_id


def audit(prepared: Mapping[str, str], dag_run: Any) -> dict[str, Any]:
    """Audit the branch, link the report in the note of the run, and report warnings.

    Raises:
        AuditFailed: A law does not hold.
        StoreUnavailable: The lake does not answer.
    """
    settings, days = load_settings(), days_in(prepared)
    result = publication.audit(settings, prepared["branch"], days)
    report = RunReport.current(settings)
    report.link(AuditReportLink.name, result.url)
    report.link(AllReportsLink.name, settings.data_docs_url)
    report.note(note_of(result))
    document = publication.require_passed(result, prepared["branch"], days).document()
    # A failed audit needs no message here: task `announce` sends one with the report.
    _report_passed(settings, dag_run, result, days)
    return document


def _report_passed(settings: Settings, dag_run: Any, report: AuditReport, days: Days) -> None:
    try:
        alerts.announce_passed(settings, dag_run.dag_id, dag_run.run_id, report.url, days)
        if report.warnings:
            alerts.announce_warnings(settings, dag_run.dag_id, dag_run.run_id, report.url, report.warnings)
    except StoreUnavailable as error:
        # The run continues: the verdict is in the report, in the note and in the commit as well.
        log.warning("the verdict could not be sent to the topic", topic=ALERTS, error=str(error))


def note_of(report: AuditReport) -> str:
    """Return the note about an audit: the verdict, the link to the report, the first warnings."""
    lines = [f"Audit {report.summary()}: {report.url}"]
    lines += [f"- {warning}" for warning in report.warnings[:NOTED_WARNINGS]]
    unlisted = len(report.warnings) - NOTED_WARNINGS
    if unlisted > 0:
        lines.append(f"- and {unlisted} more in the report")
    return "\n".join(lines)[:MAX_NOTE_LENGTH]


def publish(prepared: Mapping[str, str]) -> dict[str, Any]:
    """Merge the branch into `main` and tag the merge; return commit id, tags, and if `main` moved.

    Whether it moved is seen from its head before the run, so that a task which is retried after the
    merge still makes the event.
    """
    settings, days = load_settings(), days_in(prepared)
    published = publication.publish(settings, prepared["branch"], days)
    is_moved = head(settings, MAIN_BRANCH) != prepared["main_before"]
    report = RunReport.current(settings)
    report.link(LakeCommitLink.name, commit_url(settings, published.commit_id))
    if is_moved:
        report.say(f"Merged {prepared['branch']} into main as {short(published.commit_id)}.")
        report.changed(MAIN, published.commit_id, days)
    else:
        report.say(f"main has {days} already, unchanged, in commit {short(published.commit_id)}.")
    return asdict(published) | {"is_moved": is_moved}


def load(published: Mapping[str, Any], audited: Mapping[str, Any]) -> dict[str, int]:
    """Make PostgreSQL's daily tables equal to the merge, and say in the run's note what was done.

    Return the number of changed rows per table.
    """
    settings, commit_id = load_settings(), published["commit_id"]
    changed = daily_tables.load(settings, commit_id)
    report = RunReport.current(settings)
    report.link(LakeCommitLink.name, commit_url(settings, commit_id))
    if any(changed.values()):
        report.changed(DAILY_TABLES, commit_id, rows=sum(changed.values()))
    report.note(published_note(published, audited, sum(changed.values())))
    return changed


def published_note(published: Mapping[str, Any], audited: Mapping[str, Any], rows: int) -> str:
    """Return the note of a run that published: one sentence with the commit, then the audit."""
    done = "Published" if published["is_moved"] else "Found nothing to change in"
    tags = ", ".join(published["tags"])
    first = f"{done} {audited['days']} at commit {short(published['commit_id'])} ({tags})"
    of_report = {name: audited[name] for name in ("commit_id", "what", "days", "ok", "url")}
    report = AuditReport(**of_report, broken=(), warnings=tuple(audited["warnings"]))
    return f"{first}; {rows} rows of the daily tables changed.\n{note_of(report)}"[:MAX_NOTE_LENGTH]


def export(published: Mapping[str, Any]) -> dict[str, Any]:
    """Copy silver and gold of the merge to HDFS; return the path.

    Raises:
        AirflowSkipException: LAKE_STORE is not `hdfs`.
    """
    settings = load_settings()
    if settings.lake_store != "hdfs":
        raise AirflowSkipException(f"LAKE_STORE is {settings.lake_store}, not hdfs.")
    from tickhouse.lake.hdfs_export import export as copy

    exported = copy(settings, published["commit_id"])
    log.info(f"Copied {exported.files} files of {short(published['commit_id'])} to {exported.path} in HDFS.")
    return asdict(exported)
