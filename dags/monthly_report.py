"""Report a month, reproducibly.

What: executes `notebooks/monthly.ipynb` for a ref: the month's aggregates again from silver with Spark, held against
those that were published, plots of price, volume and volatility, the commit and the hash of the result.
Why: a figure that can be rebuilt from a commit by anybody is one that can be argued about.
When: on the second of each month for the month before; by hand for any ref and month.
Prerequisites: `tickhouse up --profile core`; `nightly_batch` published days of the month, else the run is skipped.

The executed notebook and a page of it are beside the Data Docs; the same commit gives the same hash.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import Param, dag, task

from tickhouse.nightly.assets import MAIN, MONTHLY_REPORT


@dag(
    schedule="0 4 2 * *",
    start_date=datetime(2024, 1, 1, tzinfo=UTC),
    max_active_runs=1,
    max_active_tasks=1,
    catchup=False,
    is_paused_upon_creation=False,
    doc_md=__doc__,
    tags=["tickhouse", "lake", "spark", "report"],
    params={
        "ref": Param("main", type="string", title="Branch, tag or commit"),
        "month": Param(
            None,
            type=["null", "string"],
            pattern=r"^\d{4}-\d{2}$",
            title="Month",
            description="YYYY-MM; the month before the run by default.",
        ),
    },
    default_args={"retries": 1, "retry_delay": timedelta(seconds=30)},
)
def monthly_report() -> None:
    """Run the notebook."""

    @task(inlets=[MAIN], outlets=[MONTHLY_REPORT], pool="spark_batch")
    def execute(params: dict[str, Any], dag_run: Any) -> dict[str, str]:
        """Execute the notebook; return commit, month, hash and the page."""
        from dataclasses import asdict

        from airflow.sdk.exceptions import AirflowSkipException

        from tickhouse.nightly.airflow import failing_for_good, month_of
        from tickhouse.nightly.report import has_month, report
        from tickhouse.settings import load_settings

        settings, month = load_settings(), month_of(params, dag_run.run_after)
        if not has_month(settings, params["ref"], month):
            raise AirflowSkipException(f"{params['ref']} has no month {month}.")
        with failing_for_good():
            return asdict(report(settings, params["ref"], month))

    execute()


monthly_report()
