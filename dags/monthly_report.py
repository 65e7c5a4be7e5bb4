"""Publish a reproducible report of a month.

What: executes two notebooks for a lake ref. `notebooks/monthly.ipynb` computes the aggregates of
the month again from silver with Spark, compares them with the published ones, and plots price,
volume and volatility. `notebooks/measures.ipynb` measures order-flow imbalance, volatility by hour
and the correlation of symbols. Each page shows the commit and the hash of the result.
Why: anybody can rebuild a figure of the report from the commit that it names.
When: on the second of each month for the month before; by hand for any ref and month.
Prerequisites: `tickhouse up --profile core`; `nightly_batch` has published days of the month.
Without one, the run is skipped.

The executed notebooks and their pages are published beside the Data Docs. The same commit gives the
same hash.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import Param, dag

from tickhouse.dag_tasks.announcement import announce
from tickhouse.dag_tasks.assets import MAIN, MONTHLY_REPORT, changes_of
from tickhouse.dag_tasks.deadlines import deadline
from tickhouse.dag_tasks.links import LAKE_COMMIT, MONTHLY_PAGE
from tickhouse.dag_tasks.params import LAKE_SECTION, MONTH_PATTERN, ref_param
from tickhouse.dag_tasks.task import TASK_DEFAULTS, task


@dag(
    schedule="0 4 2 * *",
    start_date=datetime(2024, 1, 1, tzinfo=UTC),
    max_active_runs=1,
    max_active_tasks=1,
    catchup=False,
    is_paused_upon_creation=False,
    description="Publish a reproducible report of a month, from the notebooks.",
    doc_md=__doc__,
    tags=["tickhouse", "lake", "spark", "report"],
    params={
        "ref": ref_param("The lake ref to report on.", section=LAKE_SECTION),
        "month": Param(
            None,
            type=["null", "string"],
            pattern=MONTH_PATTERN,
            examples=["2024-08", "2024-09"],
            title="Month",
            description="YYYY-MM; by default the month before the run.",
        ),
    },
    deadline=deadline(timedelta(hours=3)),
    dagrun_timeout=timedelta(hours=6),
    default_args={
        **TASK_DEFAULTS,
        "retries": 1,
        "retry_delay": timedelta(seconds=30),
        "execution_timeout": timedelta(hours=2),
    },
)
def monthly_report() -> None:
    """Run the notebooks, one after the other."""

    @task(inlets=[MAIN], outlets=[changes_of(MONTHLY_REPORT)], links=[MONTHLY_PAGE, LAKE_COMMIT], pool="spark_batch")
    def execute(params: dict[str, Any], dag_run: Any) -> dict[str, str]:
        """Execute the notebook; return commit, month, hash and the address of the page."""
        from tickhouse.dag_tasks import monthly_report

        return monthly_report.execute(params, dag_run)

    @task(inlets=[MAIN], outlets=[changes_of(MONTHLY_REPORT)], links=[MONTHLY_PAGE, LAKE_COMMIT])
    def measure(params: dict[str, Any], dag_run: Any) -> dict[str, str]:
        """Execute the notebook of measures; return what `execute` does."""
        from tickhouse.dag_tasks import monthly_report

        return monthly_report.execute(params, dag_run, "measures")

    execute() >> measure() >> announce()


monthly_report()
