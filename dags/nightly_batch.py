"""Build, audit and publish days of the lake.

What: branch `etl-<day>` with all of `ingest` and of `main` → Spark writes silver and gold → commit → audit on the
branch (Great Expectations) → merge into `main`, tag `daily-<day>` → daily tables of PostgreSQL. When the audit fails,
`main` does not move, the branch stays, the note of the run links the report, and a message goes to `crypto.alerts`.
Why: nothing reaches `main` unaudited, and each figure of it can be rebuilt from a commit.
When: at 00:40 UTC for the day before; by hand for any day (`date`) or range (`from`, `to`). A day without trades is
skipped.
Prerequisites: `tickhouse up --profile core`; `lake_commit` has committed the day's trades.

Every task may run again: branch, files, commit, verdict, merge, tags and rows are functions of the day and of what
`ingest` holds, so a retried task, a second run and a run after kill -9 give one result.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.sdk import Param, dag, task

from spark.conf import BATCH_CONF
from tickhouse.nightly.assets import DAILY_TABLES, INGEST, MAIN

REPO = Path(__file__).resolve().parent.parent
DAY = {"type": ["null", "string"], "format": "date"}


@dag(
    schedule="40 0 * * *",
    start_date=datetime(2024, 1, 1, tzinfo=UTC),
    max_active_runs=1,
    max_active_tasks=2,
    catchup=False,
    is_paused_upon_creation=False,
    doc_md=__doc__,
    tags=["tickhouse", "lake", "spark", "audit"],
    params={
        "date": Param(None, title="Day", description="UTC day; the day before the run by default.", **DAY),
        "from": Param(None, title="First day", description="With `to`: a range instead of a day.", **DAY),
        "to": Param(None, title="Last day", description="Included.", **DAY),
    },
    default_args={"retries": 2, "retry_delay": timedelta(seconds=15)},
)
def nightly_batch() -> None:
    """Build, audit and publish."""

    @task(inlets=[INGEST])
    def prepare(params: dict[str, Any], dag_run: Any) -> dict[str, str]:
        """Make the branch; return its name and the days."""
        from tickhouse.nightly import tasks

        return tasks.prepare(params, dag_run)

    @task
    def settle(made: dict[str, str]) -> str:
        """Commit the branch; return the commit."""
        from tickhouse.nightly import tasks

        return tasks.settle(made)

    @task
    def audit(made: dict[str, str], dag_run: Any) -> dict[str, Any]:
        """Audit the branch; fail when a law breaks."""
        from tickhouse.nightly import tasks

        return tasks.audit(made, dag_run)

    @task(outlets=[MAIN])
    def publish(made: dict[str, str]) -> dict[str, Any]:
        """Merge into main and tag."""
        from tickhouse.nightly import tasks

        return tasks.publish(made)

    @task(outlets=[DAILY_TABLES])
    def load(published: dict[str, Any]) -> dict[str, int]:
        """Make the daily tables equal to main."""
        from tickhouse.nightly import tasks

        return tasks.load(published)

    @task
    def export(published: dict[str, Any]) -> dict[str, Any]:
        """Copy silver and gold to HDFS; skipped unless LAKE_STORE is hdfs."""
        from tickhouse.nightly import tasks

        return tasks.export(published)

    @task(trigger_rule="one_failed")
    def announce(params: dict[str, Any], dag_run: Any) -> None:
        """Send word that the run failed, and fail it."""
        from tickhouse.nightly import tasks

        tasks.announce(params, dag_run)

    made = prepare()
    build = SparkSubmitOperator(
        task_id="build",
        application=str(REPO / "spark" / "batch" / "job.py"),
        application_args=[
            *("--ref", "{{ ti.xcom_pull('prepare')['branch'] }}"),
            *("--from", "{{ ti.xcom_pull('prepare')['first'] }}"),
            *("--to", "{{ ti.xcom_pull('prepare')['last'] }}"),
        ],
        name="tickhouse-batch",
        conn_id="spark_default",
        driver_memory="1g",
        conf=dict(BATCH_CONF),
        pool="spark_batch",
        doc_md="Silver and gold on the branch, in one driver.",
    )
    settled, audited, published = settle(made), audit(made), publish(made)
    made >> build >> settled >> audited >> published
    [load(published), export(published)] >> announce()  # whatever fails fails these two as well


nightly_batch()
