"""What the tasks of DAG `nightly_batch` do: parameters in, what the next task needs out, all of it JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from tickhouse.airflow_api import AirflowApi
from tickhouse.nightly import alerts, serving, steps
from tickhouse.nightly.airflow import days_in, days_of, failing_for_good
from tickhouse.settings import Settings, load_settings


def prepare(params: Mapping[str, Any], dag_run: Any) -> dict[str, str]:
    """Make the branch; return its name and the days.

    Raises:
        AirflowSkipException: The lake has no trade of these days.
    """
    days = days_of(params, dag_run.run_after)
    branch = steps.prepare(load_settings(), days)
    if branch is None:
        raise AirflowSkipException(f"The lake has no trade of {days}.")
    return {"branch": branch, "first": str(days.first), "last": str(days.last)}


def settle(made: Mapping[str, str]) -> str:
    """Commit the branch; return the commit."""
    return steps.settle(load_settings(), made["branch"], days_in(made))


def audit(made: Mapping[str, str], dag_run: Any) -> dict[str, Any]:
    """Audit the branch, link the report in the note of the run, and fail for good when a law breaks."""
    settings = load_settings()
    report = steps.audit(settings, made["branch"], days_in(made))
    with AirflowApi(settings) as airflow:
        airflow.note(dag_run.dag_id, dag_run.run_id, f"Audit {'passed' if report.ok else 'failed'}: {report.url}")
    with failing_for_good():
        return steps.require_passed(report, made["branch"]).document()


def publish(made: Mapping[str, str]) -> dict[str, Any]:
    """Merge into `main` and tag; return commit and tags."""
    with failing_for_good():
        return asdict(steps.publish(load_settings(), made["branch"], days_in(made)))


def load(published: Mapping[str, Any]) -> dict[str, int]:
    """Make the daily tables equal to the merge; return the rows changed, by table."""
    return serving.load(load_settings(), published["commit_id"])


def export(published: Mapping[str, Any]) -> dict[str, Any]:
    """Copy the merge's silver and gold to HDFS; return where to.

    Raises:
        AirflowSkipException: HDFS is not where the batch's output goes (LAKE_STORE).
    """
    settings = load_settings()
    if settings.lake_store != "hdfs":
        raise AirflowSkipException(f"LAKE_STORE is {settings.lake_store}.")
    from tickhouse.lake.export import export as copy

    return asdict(copy(settings, published["commit_id"]))


def announce(params: Mapping[str, Any], dag_run: Any) -> None:
    """Send word that the run failed, with the report of a failed audit, and fail.

    Raises:
        AirflowFailException: Always, once the message is sent.
        StoreUnavailable: It could not be sent.
    """
    settings = load_settings()
    report = steps.failed_report(settings, days_of(params, dag_run.run_after))
    announce_and_fail(settings, dag_run.dag_id, dag_run.run_id, report)


def announce_and_fail(settings: Settings, dag_id: str, run_id: str, report: str = "") -> None:
    """Send word that a run failed, and fail: Airflow takes a run's state from its last task, which is this one.

    Raises:
        AirflowFailException: Always, once the message is sent.
        StoreUnavailable: It could not be sent.
    """
    alerts.announce_failure(settings, dag_id, run_id, report)
    raise AirflowFailException(f"Run {run_id} of {dag_id} failed; the message is on {alerts.TOPIC}. {report}".rstrip())
