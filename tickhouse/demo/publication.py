"""Run the DAGs that commit the lake and publish days, and read the commits that they made."""

from __future__ import annotations

from typing import Any

from common.clients.airflow import AirflowApi
from common.clients.lakefs import INGEST, MAIN, lake_errors, repository
from common.days import Days
from common.errors import ReconcileFailed
from common.settings import Settings
from tickhouse.lake.refs import names

# How long to wait for an Airflow run whose state does not change.
COMMIT_STALLED_S = 240.0
NIGHTLY_STALLED_S = 600.0


def commit_lake(settings: Settings) -> dict[str, Any]:
    """Run DAG `lake_commit`; return the newest commit of `ingest`.

    Raises:
        ReconcileFailed: The run failed.
    """
    _run_dag(settings, "lake_commit", {}, COMMIT_STALLED_S)
    return newest_commit(settings, INGEST)


def _run_dag(settings: Settings, dag_id: str, conf: dict[str, Any], stalled_s: float) -> None:
    with AirflowApi(settings) as airflow:
        airflow.require_unpaused(dag_id)
        run_id = airflow.trigger(dag_id, conf)
        state = airflow.wait(dag_id, run_id, stalled_s)
    if state != "success":
        raise ReconcileFailed(f"Airflow's {dag_id} ended as {state}.", next_command="tickhouse logs airflow")


def newest_commit(settings: Settings, branch: str) -> dict[str, Any]:
    """Return a branch's newest commit: id, message, metadata."""
    with lake_errors(settings):
        head: Any = repository(settings).branch(branch)
        commit = head.get_commit()
    return {"id": commit.id, "message": commit.message, "metadata": dict(commit.metadata or {})}


def publish_days(settings: Settings, days: Days) -> dict[str, Any]:
    """Run DAG `nightly_batch` for some days; return the newest commit of `main` and its tags.

    Raises:
        ReconcileFailed: The run failed.
    """
    _run_dag(settings, "nightly_batch", {"from": str(days.first), "to": str(days.last)}, NIGHTLY_STALLED_S)
    commit = newest_commit(settings, MAIN)
    tags = [row["tag"] for row in names(settings, "tag") if row["commit"] == commit["id"]]
    return {**commit, "tags": tags}
