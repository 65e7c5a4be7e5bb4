"""The tasks of DAG `nightly_batch`: parameters in, JSON for the next task out.

The steps themselves are in `nightly/publication.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import structlog
from airflow.sdk.exceptions import AirflowSkipException

from common.clients.airflow import AirflowApi
from common.days import Days
from common.errors import StoreUnavailable
from common.settings import Settings, load_settings
from common.topics import ALERTS
from tickhouse.checks.audit.run import AuditReport
from tickhouse.dag_tasks import alerts, daily_tables
from tickhouse.dag_tasks.nightly import publication
from tickhouse.dag_tasks.nightly.missed_nights import build_missed
from tickhouse.dag_tasks.run_context import asked_day, days_in, days_of

# Warnings that the note of a run lists.
NOTED_WARNINGS = 3
# Airflow accepts notes of at most this many characters.
MAX_NOTE_LENGTH = 1000
log = structlog.get_logger("nightly")


def prepare(params: Mapping[str, Any], dag_run: Any) -> dict[str, str]:
    """Create the branch; return its name and the days.

    Raises:
        AirflowSkipException: The lake has no trade of these days.
    """
    days = _days(params, dag_run)
    branch = publication.prepare(load_settings(), days)
    if branch is None:
        raise AirflowSkipException(f"The lake has no trade of {days}.")
    return {"branch": branch, "first": str(days.first), "last": str(days.last)}


def _days(params: Mapping[str, Any], dag_run: Any) -> Days:
    return days_of(params, dag_run.run_after, asked_day(dag_run))


def missed(params: Mapping[str, Any], dag_run: Any) -> list[str]:
    """Start a run for each missed night; return the ids of the runs.

    Raises:
        AirflowSkipException: A person chose the days of this run.
    """
    if any(params.values()) or asked_day(dag_run):
        raise AirflowSkipException("A person chose the days of this run, so it does not search for missed nights.")
    return build_missed(load_settings(), _days(params, dag_run).last)


def settle(prepared: Mapping[str, str]) -> str:
    """Commit the branch; return the commit id."""
    return publication.commit_build(load_settings(), prepared["branch"], days_in(prepared))


def audit(prepared: Mapping[str, str], dag_run: Any) -> dict[str, Any]:
    """Audit the branch, link the report in the note of the run, and report warnings.

    Raises:
        AuditFailed: A law does not hold.
        StoreUnavailable: The lake or Airflow's API does not answer.
    """
    settings = load_settings()
    report = publication.audit(settings, prepared["branch"], days_in(prepared))
    with AirflowApi(settings) as airflow:
        airflow.note(dag_run.dag_id, dag_run.run_id, note_of(report))
    document = publication.require_passed(report, prepared["branch"]).document()
    # A failed audit needs no message here: task `announce` sends one with the report.
    _report_passed(settings, dag_run, report, days_in(prepared))
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
    """Return the note of a run: the verdict, the link to the report, and the first warnings."""
    lines = [f"Audit {report.summary()}: {report.url}"]
    lines += [f"- {warning}" for warning in report.warnings[:NOTED_WARNINGS]]
    unlisted = len(report.warnings) - NOTED_WARNINGS
    if unlisted > 0:
        lines.append(f"- and {unlisted} more in the report")
    return "\n".join(lines)[:MAX_NOTE_LENGTH]


def publish(prepared: Mapping[str, str]) -> dict[str, Any]:
    """Merge the branch into `main` and tag the merge; return commit id and tags."""
    return asdict(publication.publish(load_settings(), prepared["branch"], days_in(prepared)))


def load(published: Mapping[str, Any]) -> dict[str, int]:
    """Make PostgreSQL's daily tables equal to the merge.

    Return the number of changed rows per table.
    """
    return daily_tables.load(load_settings(), published["commit_id"])


def export(published: Mapping[str, Any]) -> dict[str, Any]:
    """Copy silver and gold of the merge to HDFS; return the path.

    Raises:
        AirflowSkipException: LAKE_STORE is not `hdfs`.
    """
    settings = load_settings()
    if settings.lake_store != "hdfs":
        raise AirflowSkipException(f"LAKE_STORE is {settings.lake_store}, not hdfs.")
    from tickhouse.lake.hdfs_export import export as copy

    return asdict(copy(settings, published["commit_id"]))


def announce(params: Mapping[str, Any], dag_run: Any) -> None:
    """Report the failed run on `crypto.alerts`, with the report of a failed audit, and fail.

    Raises:
        AirflowFailException: Always, once the message is sent.
        StoreUnavailable: The lake does not answer, or Kafka did not accept the message.
    """
    settings = load_settings()
    days = _days(params, dag_run)
    report = publication.failed_report(settings, days)
    alerts.announce_and_fail(settings, dag_run.dag_id, dag_run.run_id, report, days)
