"""Commit the lake's branch `ingest`.

What: commits what the streaming job wrote since the last commit. The metadata of the commit holds
the Kafka offset ranges and the row counts.
Why: a nightly batch, a notebook or a rollback can refer to a commit, and its offsets show which
events it holds.
When: every two minutes. A run that finds nothing new is skipped, and a repeated run changes
nothing.
Prerequisites: `tickhouse up --profile core`; the streaming job runs (`stream_trades`).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import dag

from tickhouse.dag_tasks.assets import INGEST, changes_of
from tickhouse.dag_tasks.deadlines import deadline
from tickhouse.dag_tasks.links import LAKE_COMMIT
from tickhouse.dag_tasks.task import TASK_DEFAULTS, task


@dag(
    schedule=timedelta(minutes=2),
    start_date=datetime(2024, 1, 1, tzinfo=UTC),
    max_active_runs=1,
    catchup=False,
    is_paused_upon_creation=False,
    description="Commit what streaming wrote to the lake, every two minutes.",
    doc_md=__doc__,
    tags=["tickhouse", "lake", "lakefs"],
    deadline=deadline(timedelta(minutes=15)),
    dagrun_timeout=timedelta(minutes=30),
    default_args={
        **TASK_DEFAULTS,
        "retries": 3,
        "retry_delay": timedelta(seconds=10),
        "execution_timeout": timedelta(minutes=10),
    },
)
def lake_commit() -> None:
    """Commit `ingest`."""

    @task(outlets=[changes_of(INGEST)], links=[LAKE_COMMIT])
    def commit() -> dict[str, object]:
        """Commit branch `ingest`; return the commit id, the offset ranges and the row counts."""
        from tickhouse.dag_tasks import lake_commit

        return lake_commit.commit()

    commit()


lake_commit()
