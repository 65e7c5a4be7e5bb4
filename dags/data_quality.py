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

from airflow.sdk import Param, dag

from tickhouse.dag_tasks.assets import DAILY_TABLES, MAIN
from tickhouse.dag_tasks.task import task

DAY = {"type": ["null", "string"], "format": "date"}


@dag(
    schedule="30 6 * * *",
    start_date=datetime(2024, 1, 1, tzinfo=UTC),
    max_active_runs=1,
    max_active_tasks=2,
    catchup=False,
    is_paused_upon_creation=False,
    doc_md=__doc__,
    tags=["tickhouse", "lake", "audit"],
    params={
        "ref": Param("main", type="string", title="Branch, tag or commit", description="The lake ref to audit."),
        "from": Param(None, title="First day", description="UTC; by default the newest day with candles.", **DAY),
        "to": Param(None, title="Last day", description="UTC, included.", **DAY),
    },
    dagrun_timeout=timedelta(hours=3),
    default_args={"retries": 2, "retry_delay": timedelta(seconds=10), "execution_timeout": timedelta(hours=1)},
)
def data_quality() -> None:
    """Audit the lake and PostgreSQL."""

    @task(inlets=[MAIN])
    def choose(params: dict[str, Any]) -> dict[str, str]:
        """Return the commit and the days to audit."""
        from tickhouse.dag_tasks import data_quality

        return data_quality.choose(params)

    @task()
    def lake(chosen: dict[str, str]) -> dict[str, Any]:
        """Audit the days in the lake."""
        from tickhouse.dag_tasks import data_quality

        return data_quality.lake(chosen)

    @task(inlets=[DAILY_TABLES])
    def tables(chosen: dict[str, str]) -> dict[str, Any]:
        """Audit PostgreSQL's daily tables."""
        from tickhouse.dag_tasks import data_quality

        return data_quality.tables(chosen)

    @task(trigger_rule="one_failed")
    def announce(run_id: str) -> None:
        """Report a failed audit on `crypto.alerts`, and fail the run."""
        from tickhouse.dag_tasks import data_quality

        data_quality.announce(run_id)

    chosen = choose()
    [lake(chosen), tables(chosen)] >> announce()


data_quality()
