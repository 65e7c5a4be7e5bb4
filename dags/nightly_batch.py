"""Build, audit and publish days of the lake.

What: creates branch `etl-<day>` with all of `ingest` and of `main`. Spark writes silver and gold to
it. The branch is committed, audited with Great Expectations, merged into `main` and tagged
`daily-<day>`. Then PostgreSQL's daily tables are made equal to `main`. When the audit fails, `main`
does not move, the branch stays, the note of the run links the report, and a message goes to topic
`crypto.alerts`.
Why: nothing reaches `main` without an audit, and each published figure can be rebuilt from a
commit.
When: at 00:40 UTC for the day before, which is the run's logical date; by hand for the day of the
logical date, a day (`date`) or a range of days (`from`, `to`). Days that a person chose and that
have no trades fail the run; a night without trades is skipped. Nights that were missed or failed
are built as well: each of the last 31 days that `ingest` has and `main` lacks gets a run of its
own, and a message lists them.
Prerequisites: `tickhouse up --profile core`; `lake_commit` has committed the trades of the day.

Each task may run again. Branch, files, commit, audit result, merge, tags and rows depend only on
the day and on the content of `ingest`, so a retried task, a repeated run and a run after kill -9
give the same result.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.sdk import CronDataIntervalTimetable, dag

from common.settings import REPO
from spark.conf import batch_submit_conf
from tickhouse.dag_tasks.announcement import announce
from tickhouse.dag_tasks.assets import DAILY_TABLES, INGEST, MAIN, changes_of
from tickhouse.dag_tasks.deadlines import deadline
from tickhouse.dag_tasks.links import AUDIT_LINKS, LAKE_COMMIT
from tickhouse.dag_tasks.params import RANGE_SECTION, day_param
from tickhouse.dag_tasks.task import TASK_DEFAULTS, task


@dag(
    # Unlike a plain cron text, it gives a night the day that it builds as its logical date.
    schedule=CronDataIntervalTimetable("40 0 * * *", timezone="UTC"),
    start_date=datetime(2024, 1, 1, tzinfo=UTC),
    max_active_runs=1,
    max_active_tasks=2,
    catchup=False,
    is_paused_upon_creation=False,
    description="Build, audit and publish a day of the lake.",
    doc_md=__doc__,
    tags=["tickhouse", "lake", "spark", "audit"],
    params={
        "date": day_param("Day", "One day; by default the day of the logical date, or the day before the run."),
        "from": day_param("First day", "With `to`: a range of days instead of one day.", section=RANGE_SECTION),
        "to": day_param("Last day", "Included. At most 92 days in one run.", section=RANGE_SECTION),
    },
    deadline=deadline(timedelta(hours=3)),
    dagrun_timeout=timedelta(hours=8),  # less than a day: a run that hangs must not block the next night
    default_args={
        **TASK_DEFAULTS,
        "retries": 2,
        "retry_delay": timedelta(seconds=15),
        "execution_timeout": timedelta(hours=1),
    },
)
def nightly_batch() -> None:
    """Build, audit and publish."""

    @task(inlets=[INGEST])
    def prepare(params: dict[str, Any], dag_run: Any) -> dict[str, str]:
        """Create the branch; return its name and the days."""
        from tickhouse.dag_tasks import nightly_batch

        return nightly_batch.prepare(params, dag_run)

    @task()
    def missed(params: dict[str, Any], dag_run: Any) -> list[str]:
        """Start a run for each missed night; skipped when a person chose the days of this run."""
        from tickhouse.dag_tasks import nightly_batch

        return nightly_batch.missed(params, dag_run)

    @task(links=[LAKE_COMMIT])
    def settle(prepared: dict[str, str]) -> str:
        """Commit the branch; return the commit id."""
        from tickhouse.dag_tasks import nightly_batch

        return nightly_batch.settle(prepared)

    @task(links=AUDIT_LINKS)
    def audit(prepared: dict[str, str], dag_run: Any) -> dict[str, Any]:
        """Audit the branch; fails when a law does not hold."""
        from tickhouse.dag_tasks import nightly_batch

        return nightly_batch.audit(prepared, dag_run)

    @task(outlets=[changes_of(MAIN)], links=[LAKE_COMMIT])
    def publish(prepared: dict[str, str]) -> dict[str, Any]:
        """Merge the branch into `main` and tag the merge."""
        from tickhouse.dag_tasks import nightly_batch

        return nightly_batch.publish(prepared)

    @task(outlets=[changes_of(DAILY_TABLES)], links=[LAKE_COMMIT])
    def load(published: dict[str, Any], audited: dict[str, Any]) -> dict[str, int]:
        """Make PostgreSQL's daily tables equal to `main`, and set the note of the run."""
        from tickhouse.dag_tasks import nightly_batch

        return nightly_batch.load(published, audited)

    @task()
    def export(published: dict[str, Any]) -> dict[str, Any]:
        """Copy silver and gold to HDFS; skipped unless LAKE_STORE is `hdfs`."""
        from tickhouse.dag_tasks import nightly_batch

        return nightly_batch.export(published)

    prepared = prepare()
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
        conf=batch_submit_conf(),
        pool="spark_batch",
        execution_timeout=timedelta(hours=4),
        doc_md="Write silver and gold to the branch, in one driver.",
    )
    committed, audited, published = settle(prepared), audit(prepared), publish(prepared)
    prepared >> build >> committed >> audited >> published
    # A task that fails before these makes `load` and `export` fail as well, and so starts
    # `announce`.
    [load(published, audited), export(published), missed()] >> announce()


nightly_batch()
