"""Fill the past.

What: fetches trades of a symbol by REST, or replays an archive file, then commits the lake and has `nightly_batch`
publish the days again.
Why: gaps that live filling could not close, and history from before the producer ran, go the same way as everything
else.
When: by hand. With `file` an archive (zip or CSV of data.binance.vision, or a recorded capture) on the scheduler's
machine is replayed; without it the days are fetched by REST.
Prerequisites: `tickhouse up --profile core`; the streaming job runs (`stream_trades`).

What Kafka has already is not fetched nor sent again, and days whose trades did not change are published as they were.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import Param, dag, task

from tickhouse.nightly.assets import INGEST


@dag(
    schedule=None,
    start_date=datetime(2024, 1, 1, tzinfo=UTC),
    max_active_runs=1,
    max_active_tasks=2,
    catchup=False,
    is_paused_upon_creation=False,
    doc_md=__doc__,
    tags=["tickhouse", "lake", "producer"],
    params={
        "market": Param("spot", type="string", enum=["spot", "usdm", "coinm"]),
        "symbol": Param(type="string", pattern="^[A-Z0-9_]{2,30}$", description="The exchange's own symbol."),
        "from": Param(type="string", format="date", title="First day"),
        "to": Param(type="string", format="date", title="Last day", description="Included."),
        "file": Param(None, type=["null", "string"], title="Archive file", description="Replayed instead of REST."),
    },
    default_args={"retries": 2, "retry_delay": timedelta(seconds=15)},
)
def backfill() -> None:
    """Fetch or replay, commit, publish."""

    @task(outlets=[INGEST])
    def fetch(params: dict[str, Any]) -> dict[str, Any]:
        """Bring the trades into Kafka and wait until every store has them."""
        from tickhouse.nightly.airflow import failing_for_good
        from tickhouse.nightly.past import fetch

        with failing_for_good():
            return fetch(params)

    commit = TriggerDagRunOperator(
        task_id="commit",
        trigger_dag_id="lake_commit",
        wait_for_completion=True,
        deferrable=True,
        poke_interval=3,
        allowed_states=["success"],
        doc_md="Commit `ingest`; the run waits its turn behind the scheduled ones.",
    )
    publish = TriggerDagRunOperator(
        task_id="publish",
        trigger_dag_id="nightly_batch",
        conf={"from": "{{ params['from'] }}", "to": "{{ params['to'] }}"},
        wait_for_completion=True,
        deferrable=True,
        retries=0,  # the run it waits for has retries of its own
        poke_interval=5,
        doc_md="Build, audit and publish the days again.",
    )
    fetch() >> commit >> publish


backfill()
