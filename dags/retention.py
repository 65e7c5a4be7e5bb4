"""Remove data that is past its retention.

What: does the same as `tickhouse retention apply`. It covers topics, candles, bronze whose silver
is published, work branches, audit pages, Airflow's own history, logs, and the stores of profile
`sinks`. `stack/retention.yaml` and `schemas/topics.yaml` declare how long each is kept.
Why: all of these grow each day, and would fill the disk.
When: at 03:20 UTC, after the nightly batch; by hand at any time, for instance before a large
replay.
Prerequisites: `tickhouse up --profile core`. When a store is down, the others are handled, this run
fails, and the next run handles that store.

Each removal is recorded in `audit.removals` before it happens, so that `tickhouse reconcile` can
distinguish it from a loss. A run that was killed is completed by the next one.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import dag

from tickhouse.dag_tasks.announcement import announce
from tickhouse.dag_tasks.deadlines import deadline
from tickhouse.dag_tasks.task import TASK_DEFAULTS, task


@dag(
    schedule="20 3 * * *",
    start_date=datetime(2024, 1, 1, tzinfo=UTC),
    max_active_runs=1,
    catchup=False,
    is_paused_upon_creation=False,
    description="Remove data that is past its retention, each night.",
    doc_md=__doc__,
    tags=["tickhouse", "retention"],
    deadline=deadline(timedelta(hours=4)),
    dagrun_timeout=timedelta(hours=8),
    default_args={
        **TASK_DEFAULTS,
        "retries": 2,
        "retry_delay": timedelta(minutes=5),
        "execution_timeout": timedelta(hours=2),
    },
)
def retention() -> None:
    """Apply retention, and report a failure."""

    @task()
    def apply() -> dict[str, Any]:
        """Apply retention to each store; return what was done per store."""
        from tickhouse.dag_tasks import retention

        return retention.apply()

    apply() >> announce()


retention()
