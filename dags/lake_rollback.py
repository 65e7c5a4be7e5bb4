"""Roll the published lake back to an earlier state.

What: adds a commit to `main` that restores its state at an earlier commit or tag. Then it makes
PostgreSQL's daily tables equal to `main`, and audits them against it.
Why: a wrong figure that was published must disappear at once from every place that shows it, while
the history is kept.
When: by hand. Parameter `to` names a commit or tag in the history of `main` (`tickhouse lake log
main`, `tickhouse lake tag`).
Prerequisites: `tickhouse up --profile core`; something was published to `main`.

A repeated run finds `main` in the wanted state and changes nothing. To undo a rollback, run the DAG
again with the commit that was `main` before.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import Param, dag

from tickhouse.dag_tasks.assets import DAILY_TABLES, MAIN
from tickhouse.dag_tasks.task import task


@dag(
    schedule=None,
    start_date=datetime(2024, 1, 1, tzinfo=UTC),
    max_active_runs=1,
    max_active_tasks=2,
    catchup=False,
    is_paused_upon_creation=False,
    doc_md=__doc__,
    tags=["tickhouse", "lake"],
    params={
        "to": Param(
            type="string",
            title="Commit or tag",
            description="The state to restore, for example daily-2024-08-08.",
            pattern="^[A-Za-z0-9][A-Za-z0-9._-]+$",
        )
    },
    dagrun_timeout=timedelta(hours=2),
    default_args={"retries": 2, "retry_delay": timedelta(seconds=10), "execution_timeout": timedelta(hours=1)},
)
def lake_rollback() -> None:
    """Roll `main` back."""

    @task(outlets=[MAIN])
    def move(params: dict[str, Any]) -> str:
        """Bring `main` back to parameter `to`; return the id of the new commit."""
        from tickhouse.dag_tasks import lake_rollback

        return lake_rollback.move(params)

    @task(outlets=[DAILY_TABLES])
    def load(commit_id: str) -> dict[str, int]:
        """Make the daily tables equal to `main`; return the number of changed rows per table."""
        from tickhouse.dag_tasks import lake_rollback

        return lake_rollback.load(commit_id)

    @task()
    def verify(commit_id: str) -> dict[str, Any]:
        """Audit the daily tables against `main`."""
        from tickhouse.dag_tasks import lake_rollback

        return lake_rollback.verify(commit_id)

    moved = move()
    load(moved) >> verify(moved)


lake_rollback()
