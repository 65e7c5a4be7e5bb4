"""Audit what is published.

What: judges days of a lake ref by the laws of `expectations/`, and PostgreSQL's daily tables against the same ref.
Why: the nightly audit sees a day once, before it is published; this one sees that it still holds, and that what people
query is what the lake says.
When: each morning for the newest published day; by hand for any ref and days.
Prerequisites: `tickhouse up --profile core`; `nightly_batch` published something, else the run is skipped.

Reports are in the Data Docs, linked in the result of each task. A broken law fails its task, and a message goes out.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import Param, dag, task

from tickhouse.nightly.assets import DAILY_TABLES, MAIN

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
        "ref": Param("main", type="string", title="Branch, tag or commit"),
        "from": Param(None, title="First day", description="The newest day with candles by default.", **DAY),
        "to": Param(None, title="Last day", description="Included.", **DAY),
    },
    default_args={"retries": 2, "retry_delay": timedelta(seconds=10)},
)
def data_quality() -> None:
    """Audit the lake and PostgreSQL."""

    @task(inlets=[MAIN])
    def choose(params: dict[str, Any]) -> dict[str, str]:
        """Return the commit and the days to audit."""
        from airflow.sdk.exceptions import AirflowSkipException

        from tickhouse.nightly.quality import choose
        from tickhouse.settings import load_settings

        chosen = choose(load_settings(), params["ref"], params["from"], params["to"])
        if chosen is None:
            raise AirflowSkipException(f"{params['ref']} has no candles yet.")
        return chosen

    @task
    def lake(chosen: dict[str, str]) -> dict[str, Any]:
        """Audit the days of the lake."""
        from tickhouse.nightly.airflow import days_in, failing_for_good
        from tickhouse.nightly.quality import audit_days
        from tickhouse.settings import load_settings

        with failing_for_good():
            return audit_days(load_settings(), chosen["commit"], days_in(chosen)).document()

    @task(inlets=[DAILY_TABLES])
    def tables(chosen: dict[str, str]) -> dict[str, Any]:
        """Audit PostgreSQL's tables."""
        from tickhouse.nightly.airflow import failing_for_good
        from tickhouse.nightly.quality import audit_tables
        from tickhouse.settings import load_settings

        with failing_for_good():
            return audit_tables(load_settings(), chosen["commit"]).document()

    @task(trigger_rule="one_failed")
    def announce(run_id: str) -> None:
        """Send word that an audit failed, and fail the run."""
        from tickhouse.nightly.tasks import announce_and_fail
        from tickhouse.settings import load_settings

        announce_and_fail(load_settings(), "data_quality", run_id)

    chosen = choose()
    [lake(chosen), tables(chosen)] >> announce()


data_quality()
