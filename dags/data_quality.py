"""Audit what is published.

What: checks days of a lake ref against the laws of `expectations/`, and PostgreSQL's daily tables
against the same ref.
Why: the nightly audit checks a day once, before it is published. This DAG checks that a published
day is still correct, and that the tables which people query agree with the lake.
When: each morning for the newest published day; by hand for any ref and days.
Prerequisites: `tickhouse up --profile core`; `nightly_batch` has published a day. Without one, the
run is skipped.

The result of each task links its report in the Data Docs. A broken law fails its task, and a
message goes to topic `crypto.alerts`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import dag

from tickhouse.dag_tasks.announcement import announce
from tickhouse.dag_tasks.assets import DAILY_TABLES, MAIN
from tickhouse.dag_tasks.deadlines import deadline
from tickhouse.dag_tasks.links import AUDIT_LINKS, LAKE_COMMIT
from tickhouse.dag_tasks.params import LAKE_SECTION, day_param, ref_param
from tickhouse.dag_tasks.task import TASK_DEFAULTS, task


@dag(
    schedule="30 6 * * *",
    start_date=datetime(2024, 1, 1, tzinfo=UTC),
    max_active_runs=1,
    max_active_tasks=2,
    catchup=False,
    is_paused_upon_creation=False,
    description="Audit a published day and PostgreSQL's daily tables, each morning.",
    doc_md=__doc__,
    tags=["tickhouse", "lake", "audit"],
    params={
        "ref": ref_param("The lake ref to audit.", section=LAKE_SECTION),
        "from": day_param("First day", "By default the newest day with candles."),
        "to": day_param("Last day", "Included; by default the first day. At most 92 days."),
    },
    deadline=deadline(timedelta(hours=1)),
    dagrun_timeout=timedelta(hours=3),
    default_args={
        **TASK_DEFAULTS,
        "retries": 2,
        "retry_delay": timedelta(seconds=10),
        "execution_timeout": timedelta(hours=1),
    },
)
def data_quality() -> None:
    """Audit the lake and PostgreSQL."""

    @task(inlets=[MAIN], links=[LAKE_COMMIT])
    def choose(params: dict[str, Any], dag_run: Any) -> dict[str, str]:
        """Return the commit and the days to audit."""
        from tickhouse.dag_tasks import data_quality

        return data_quality.choose(params, dag_run)

    @task(links=AUDIT_LINKS)
    def lake(chosen: dict[str, str]) -> dict[str, Any]:
        """Audit the days in the lake."""
        from tickhouse.dag_tasks import data_quality

        return data_quality.lake(chosen)

    @task(inlets=[DAILY_TABLES], links=AUDIT_LINKS)
    def tables(chosen: dict[str, str]) -> dict[str, Any]:
        """Audit PostgreSQL's daily tables."""
        from tickhouse.dag_tasks import data_quality

        return data_quality.tables(chosen)

    @task()
    def conclude(chosen: dict[str, str], lake_audit: dict[str, Any], table_audit: dict[str, Any]) -> None:
        """Say in the run's note that both audits passed, and end an earlier alert."""
        from tickhouse.dag_tasks import data_quality

        data_quality.conclude(chosen, {"lake": lake_audit, "postgres": table_audit})

    chosen = choose()
    conclude(chosen, lake(chosen), tables(chosen)) >> announce()


data_quality()
