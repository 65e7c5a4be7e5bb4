"""The tasks of DAG `lake_rollback`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from airflow.sdk.exceptions import AirflowSkipException

from common.clients.lakefs import MAIN as MAIN_BRANCH
from common.settings import load_settings
from tickhouse.dag_tasks import daily_tables
from tickhouse.dag_tasks.assets import DAILY_TABLES, MAIN
from tickhouse.dag_tasks.data_quality import audit_tables
from tickhouse.dag_tasks.links import LakeCommitLink, commit_url
from tickhouse.dag_tasks.run_report import RunReport, short
from tickhouse.lake.branches import head
from tickhouse.lake.rollback import RollbackPreview, rollback
from tickhouse.lake.rollback import preview as look_ahead

# Publications and days that the log and the result of the preview list.
MOST_LISTED = 20


def preview(params: Mapping[str, Any]) -> dict[str, Any]:
    """Say which publications, days and rows the rollback would undo; change nothing.

    Raises:
        ConfigurationError: Parameter `to` is not in the history of `main`.
    """
    settings = load_settings()
    found = look_ahead(settings, params["to"])
    report = RunReport.current(settings)
    report.link(LakeCommitLink.name, commit_url(settings, found.target))
    report.note(f"Preview: {preview_text(params['to'], found)}")
    for one in found.undone[:MOST_LISTED]:
        report.say(f"Undoes {short(one.commit_id)} of {one.committed_at}: {one.message}")
    document = asdict(found)
    document["undone"] = document["undone"][:MOST_LISTED]
    document["days"] = [str(day) for day in found.days[:MOST_LISTED]]
    return document | {"publications": len(found.undone), "text": preview_text(params["to"], found)}


def preview_text(to: str, found: RollbackPreview) -> str:
    """Return in one sentence what a rollback would change (pure)."""
    if not found.undone:
        return f"main has the state of {to} ({short(found.target)}) already, so nothing would change."
    listed = ", ".join(str(day) for day in found.days[:MOST_LISTED])
    more = f" and {len(found.days) - MOST_LISTED} more days" if len(found.days) > MOST_LISTED else ""
    days = f"the trades of {listed}{more}" if found.days else "no trades"
    return (
        f"a rollback of main from {short(found.main)} to {to} ({short(found.target)}) undoes "
        f"{len(found.undone)} publications and changes {days}: "
        f"{found.rows_removed:,} rows go and {found.rows_restored:,} come back."
    )


def move(params: Mapping[str, Any], previewed: Mapping[str, Any]) -> str:
    """Bring `main` back to parameter `to`; return the id of the new commit.

    Raises:
        AirflowSkipException: Only the preview was asked for.
        ConfigurationError: `to` is not in the history of `main`.
    """
    if params["preview_only"]:
        raise AirflowSkipException("Only the preview was asked for, so main was not moved.")
    settings = load_settings()
    report = RunReport.current(settings)
    commit_id = rollback(settings, params["to"], reason=params["reason"])
    report.link(LakeCommitLink.name, commit_url(settings, commit_id))
    if head(settings, MAIN_BRANCH) != previewed["main"]:
        report.changed(MAIN, commit_id, to=params["to"], reason=params["reason"])
        report.say(f"main is at {short(commit_id)}, which has the state of {params['to']}.")
    else:
        report.say(f"main has the state of {params['to']} already, so it was not moved.")
    return commit_id


def load(commit_id: str) -> dict[str, int]:
    """Make PostgreSQL's daily tables equal to a commit.

    Return the number of changed rows per table.
    """
    settings = load_settings()
    changed = daily_tables.load(settings, commit_id)
    report = RunReport.current(settings)
    report.say(f"Changed {sum(changed.values())} rows of the daily tables.")
    if any(changed.values()):
        report.changed(DAILY_TABLES, commit_id, rows=sum(changed.values()))
    return changed


def verify(params: Mapping[str, Any], previewed: Mapping[str, Any], commit_id: str) -> dict[str, Any]:
    """Audit the daily tables against a commit, and say in the run's note what was done.

    Raises:
        AuditFailed: A table differs from the commit.
    """
    settings = load_settings()
    report = RunReport.current(settings)
    audited = audit_tables(settings, commit_id, report)
    report.note(
        f"main is at commit {short(commit_id)}, reason: {params['reason']}\n"
        f"Preview: {previewed['text']}\nThe daily tables equal it: {audited.url}"
    )
    return audited.document()
