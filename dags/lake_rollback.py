"""Roll the published lake back to an earlier state.

What: says which publications, days and rows would be undone (task `preview`). Then it adds a commit
to `main` that restores its state at an earlier commit or tag, makes PostgreSQL's daily tables equal
to `main`, and audits them against it. With `preview_only`, it stops after the preview.
Why: a wrong figure that was published must disappear at once from every place that shows it, while
the history is kept.
When: by hand. Parameter `to` names a commit or tag in the history of `main` (`tickhouse lake log
main`, `tickhouse lake tag`), and parameter `reason` says why. The reason is kept in the metadata of
the new commit (`rollback.reason`) and in the note of the run.
Prerequisites: `tickhouse up --profile core`; something was published to `main`.

A repeated run finds `main` in the wanted state, changes nothing and makes no event. To undo a
rollback, run the DAG again with the commit that was `main` before.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import Param, dag

from tickhouse.dag_tasks.announcement import announce
from tickhouse.dag_tasks.assets import DAILY_TABLES, MAIN, changes_of
from tickhouse.dag_tasks.deadlines import deadline
from tickhouse.dag_tasks.links import AUDIT_LINKS, LAKE_COMMIT
from tickhouse.dag_tasks.params import REF_PATTERN
from tickhouse.dag_tasks.task import TASK_DEFAULTS, task


@dag(
    schedule=None,
    start_date=datetime(2024, 1, 1, tzinfo=UTC),
    max_active_runs=1,
    max_active_tasks=2,
    catchup=False,
    is_paused_upon_creation=False,
    description="Roll the published lake back to an earlier commit or tag, after a preview.",
    doc_md=__doc__,
    tags=["tickhouse", "lake"],
    params={
        "to": Param(
            type="string",
            title="Commit or tag",
            description="The state to restore: a tag like daily-2024-08-08, or a commit in the history of main.",
            pattern=REF_PATTERN,
        ),
        "reason": Param(
            type="string",
            minLength=10,
            maxLength=300,
            title="Reason",
            description="Why. It is kept in the metadata of the new commit and in the note of the run.",
        ),
        "preview_only": Param(
            False,
            type="boolean",
            title="Only preview",
            description="Say what would be undone, and change nothing.",
        ),
    },
    deadline=deadline(timedelta(minutes=30)),
    dagrun_timeout=timedelta(hours=2),
    default_args={
        **TASK_DEFAULTS,
        "retries": 2,
        "retry_delay": timedelta(seconds=10),
        "execution_timeout": timedelta(hours=1),
    },
)
def lake_rollback() -> None:
    """Roll `main` back."""

    @task(links=[LAKE_COMMIT])
    def preview(params: dict[str, Any]) -> dict[str, Any]:
        """Say which publications, days and rows would be undone; change nothing."""
        from tickhouse.dag_tasks import lake_rollback

        return lake_rollback.preview(params)

    @task(outlets=[changes_of(MAIN)], links=[LAKE_COMMIT])
    def move(params: dict[str, Any], previewed: dict[str, Any]) -> str:
        """Bring `main` back to parameter `to`; return the id of the new commit."""
        from tickhouse.dag_tasks import lake_rollback

        return lake_rollback.move(params, previewed)

    @task(outlets=[changes_of(DAILY_TABLES)])
    def load(commit_id: str) -> dict[str, int]:
        """Make the daily tables equal to `main`; return the number of changed rows per table."""
        from tickhouse.dag_tasks import lake_rollback

        return lake_rollback.load(commit_id)

    @task(links=AUDIT_LINKS)
    def verify(params: dict[str, Any], previewed: dict[str, Any], commit_id: str) -> dict[str, Any]:
        """Audit the daily tables against `main`, and say in the run's note what was done."""
        from tickhouse.dag_tasks import lake_rollback

        return lake_rollback.verify(params, previewed, commit_id)

    previewed = preview()
    moved = move(previewed=previewed)
    load(moved) >> verify(previewed=previewed, commit_id=moved) >> announce()


lake_rollback()
