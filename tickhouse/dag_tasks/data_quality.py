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
from tickhouse.dag_tasks.links import AllReportsLink, AuditReportLink, LakeCommitLink, commit_url
from tickhouse.dag_tasks.params import bounded
from tickhouse.dag_tasks.run_context import days_in, parse_day, today_of
from tickhouse.dag_tasks.run_report import RunReport, short
from tickhouse.lake.branches import audited_commit


def choose(params: Mapping[str, Any], dag_run: Any) -> dict[str, str]:
    """Return the commit and the days to audit.

    Raises:
        AirflowSkipException: The ref has no candles yet.
        ConfigurationError: The days are out of bounds, or there is no such ref.
    """
    settings = load_settings()
    report = RunReport.current(settings)
    chosen = choose_days(settings, params["ref"], params["from"], params["to"])
    if chosen is None:
        text = f"{params['ref']} has no candles yet, so there is nothing to audit."
        report.note(text)
        raise AirflowSkipException(text)
    days = bounded(parse_day(chosen["first"]), parse_day(chosen["last"]), today_of(dag_run))
    report.link(LakeCommitLink.name, commit_url(settings, chosen["commit"]))
    report.say(f"This run audits {days} of {params['ref']} at commit {short(chosen['commit'])}.")
    return chosen


def lake(chosen: Mapping[str, str]) -> dict[str, Any]:
    """Audit the days in the lake; return the report."""
    settings = load_settings()
    report, ref = RunReport.current(settings), chosen.get("ref", "")
    return audit_days(settings, chosen["commit"], days_in(chosen), report, ref).document()


def tables(chosen: Mapping[str, str]) -> dict[str, Any]:
    """Audit PostgreSQL's daily tables; return the report."""
    settings = load_settings()
    return audit_tables(settings, chosen["commit"], RunReport.current(settings)).document()


def conclude(chosen: Mapping[str, str], audits: Mapping[str, Mapping[str, Any]]) -> None:
    """Say in the run's note that both audits passed, and end the alert about an earlier audit.

    Raises:
        StoreUnavailable: Kafka did not accept the message.
    """
    settings, days = load_settings(), days_in(chosen)
    report = RunReport.current(settings)
    links = "\n".join(f"- {name}: {audited['url']}" for name, audited in audits.items())
    warnings = sum(len(audited["warnings"]) for audited in audits.values())
    alerts.announce_passed(settings, report.run.dag_id, report.run.run_id, audits["lake"]["url"], days)
    report.note(f"The audit of {days} at commit {short(chosen['commit'])} passed; warnings: {warnings}.\n{links}")


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


def audit_days(settings: Settings, commit_id: str, days: Days, report: RunReport, ref: str = "") -> AuditReport:
    """Audit days of a commit; return the report.

    Raises:
        AuditFailed: A law does not hold.
        StoreUnavailable: The lake does not answer.
    """
    return _require_passed(settings, audit_lake(settings, commit_id, days, ref), report, days)


def audit_tables(settings: Settings, commit_id: str, report: RunReport) -> AuditReport:
    """Audit PostgreSQL's daily tables against a commit; return the report.

    Raises:
        AuditFailed: They differ.
        StoreUnavailable: The lake or PostgreSQL does not answer.
    """
    laws = postgres_laws(settings, commit_id)
    return _require_passed(settings, write_report(settings, commit_id, "postgres", None, laws), report)


def _require_passed(
    settings: Settings, audited: AuditReport, report: RunReport, days: Days | None = None
) -> AuditReport:
    report.link(AuditReportLink.name, audited.url)
    report.link(AllReportsLink.name, settings.data_docs_url)
    report.say(f"The audit of {audited.what}, {audited.days}, {audited.summary()}: {audited.url}")
    if audited.ok:
        return audited
    raise AuditFailed(
        f"{audited.what} did not pass the audit at {short(audited.commit_id)}: {'; '.join(audited.broken)}",
        broken=audited.broken,
        report=audited.url,
        days=(str(days.first), str(days.last)) if days else (),
        safe=f"Nothing was changed. Report: {audited.url}",
        next_command="tickhouse lake log main",
    )
