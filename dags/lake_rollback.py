"""Take publications back.

What: brings `main` to what it was at a commit or tag, by a new commit; then makes PostgreSQL's daily tables equal to
it, and verifies both.
Why: a wrong figure that was published must go from every place that shows it, at once, and without losing the history.
When: by hand: `to` names a commit or tag in the past of `main` (`tickhouse lake log main`, `tickhouse lake tag`).
Prerequisites: `tickhouse up --profile core`; `main` was published to at least once.

A second run finds `main` as it should be and changes nothing. A rollback can be rolled back: name the commit it undid.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import Param, dag, task

from tickhouse.nightly.assets import DAILY_TABLES, MAIN


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
            description="What main shall hold again, daily-2024-08-08 say.",
            pattern="^[A-Za-z0-9][A-Za-z0-9._-]+$",
        )
    },
    default_args={"retries": 2, "retry_delay": timedelta(seconds=10)},
)
def lake_rollback() -> None:
    """Roll `main` back."""

    @task(outlets=[MAIN])
    def move(params: dict[str, Any]) -> str:
        """Move main; return its head."""
        from tickhouse.lake.rollback import rollback
        from tickhouse.nightly.airflow import failing_for_good
        from tickhouse.settings import load_settings

        with failing_for_good():
            return rollback(load_settings(), params["to"])

    @task(outlets=[DAILY_TABLES])
    def load(commit_id: str) -> dict[str, int]:
        """Make the daily tables equal to main; return the rows changed."""
        from tickhouse.nightly.serving import load
        from tickhouse.settings import load_settings

        return load(load_settings(), commit_id)

    @task
    def verify(commit_id: str) -> dict[str, Any]:
        """Audit the daily tables against main."""
        from tickhouse.nightly.airflow import failing_for_good
        from tickhouse.nightly.quality import audit_tables
        from tickhouse.settings import load_settings

        with failing_for_good():
            return audit_tables(load_settings(), commit_id).document()

    moved = move()
    load(moved) >> verify(moved)


lake_rollback()
