"""The tasks of DAG `data_quality`: audit days of a ref, and PostgreSQL's daily tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow.sdk.exceptions import AirflowSkipException

from common.days import Days
from common.errors import AuditFailed
from common.settings import Settings, load_settings
from tickhouse.checks.audit.postgres_tables import postgres_laws
from tickhouse.checks.audit.run import AuditReport, audit_lake, newest_day, write_report
from tickhouse.dag_tasks import alerts
from tickhouse.dag_tasks.run_context import days_in
from tickhouse.lake.branches import audited_commit


def choose(params: Mapping[str, Any]) -> dict[str, str]:
    """Return the commit and the days to audit.

    Raises:
        AirflowSkipException: The ref has no candles yet.
    """
    chosen = choose_days(load_settings(), params["ref"], params["from"], params["to"])
    if chosen is None:
        raise AirflowSkipException(f"{params['ref']} has no candles yet.")
    return chosen


def lake(chosen: Mapping[str, str]) -> dict[str, Any]:
    """Audit the days in the lake; return the report."""
    return audit_days(load_settings(), chosen["commit"], days_in(chosen), chosen.get("ref", "")).document()


def tables(chosen: Mapping[str, str]) -> dict[str, Any]:
    """Audit PostgreSQL's daily tables; return the report."""
    return audit_tables(load_settings(), chosen["commit"]).document()


def announce(run_id: str) -> None:
    """Report the failed run on `crypto.alerts`, and fail."""
    alerts.announce_and_fail(load_settings(), "data_quality", run_id)


def choose_days(settings: Settings, ref: str, first: str | None, last: str | None) -> dict[str, str] | None:
    """Return commit, first and last day to audit; None when the ref has no candles.

    Without `first` and `last`, the day is the newest one with candles.

    Raises:
        ConfigurationError: There is no such ref.
        StoreUnavailable: The lake does not answer.
    """
    commit_id = audited_commit(settings, ref)
    newest = newest_day(settings, commit_id)
    if newest is None:
        return None
    first, last = first or last or str(newest), last or first or str(newest)
    return {"commit": commit_id, "ref": ref, "first": first, "last": last}


def audit_days(settings: Settings, commit_id: str, days: Days, ref: str = "") -> AuditReport:
    """Audit days of a commit; return the report.

    Raises:
        AuditFailed: A law does not hold.
        StoreUnavailable: The lake does not answer.
    """
    return _require_passed(audit_lake(settings, commit_id, days, ref))


def audit_tables(settings: Settings, commit_id: str) -> AuditReport:
    """Audit PostgreSQL's daily tables against a commit; return the report.

    Raises:
        AuditFailed: They differ.
        StoreUnavailable: The lake or PostgreSQL does not answer.
    """
    return _require_passed(write_report(settings, commit_id, "postgres", None, postgres_laws(settings, commit_id)))


def _require_passed(report: AuditReport) -> AuditReport:
    if report.ok:
        return report
    raise AuditFailed(
        f"{report.what} did not pass the audit at {report.commit_id[:16]}: {'; '.join(report.broken)}",
        safe=f"Nothing was changed. Report: {report.url}",
        next_command="tickhouse lake log main",
    )
