"""Bring trades of the past into the lakehouse.

What: fetches the trades of one symbol by REST, or replays an archive file. Then it commits the lake
and runs `nightly_batch`, which builds and publishes the days again.
Why: trades from gaps that the live producer could not fill, and from before it ran, pass through
the same pipeline as live trades.
When: by hand. With parameter `file`, an archive on the scheduler's machine is replayed: a zip or
CSV of data.binance.vision, or a recorded capture. Without it, the days are fetched by REST.
Prerequisites: `tickhouse up --profile core`; the streaming job runs (`stream_trades`);
`lake_commit` and `nightly_batch` are not paused. If one is paused, the run fails at once with the
command that unpauses it.

A run may be repeated. Trades that Kafka has are neither fetched nor sent again, and a day whose
trades did not change is published unchanged.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import Param, dag

from tickhouse.dag_tasks.assets import INGEST
from tickhouse.dag_tasks.run_dag import RunDagOperator
from tickhouse.dag_tasks.task import task


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
        "market": Param(
            "spot",
            type="string",
            enum=["spot", "usdm", "coinm"],
            title="Market",
            description="spot, or the USD-M (usdm) or COIN-M (coinm) futures.",
        ),
        # Letters of any script are allowed. Task `fetch` explains what is wrong with a symbol.
        "symbol": Param(
            type="string",
            pattern=r"^[^-\sa-z:/][^\sa-z:/]{0,49}$",
            title="Symbol",
            description="As the exchange writes it, for example BTCUSDT.",
        ),
        "from": Param(type="string", format="date", title="First day", description="UTC."),
        "to": Param(type="string", format="date", title="Last day", description="UTC, included."),
        "file": Param(
            None,
            type=["null", "string"],
            title="Archive file",
            description="Path on the scheduler's machine. Replay this file instead of fetching the days by REST.",
        ),
    },
    dagrun_timeout=timedelta(hours=18),
    default_args={"retries": 2, "retry_delay": timedelta(seconds=15), "execution_timeout": timedelta(hours=8)},
)
def backfill() -> None:
    """Fetch or replay, commit, publish."""

    @task(execution_timeout=timedelta(minutes=5))
    def check() -> None:
        """Fail before hours of fetching if a DAG that is needed afterwards is paused."""
        from tickhouse.dag_tasks import backfill

        backfill.check()

    @task(outlets=[INGEST])
    def fetch(params: dict[str, Any]) -> dict[str, Any]:
        """Bring the trades into Kafka and wait until each store has them."""
        from tickhouse.dag_tasks import backfill

        return backfill.fetch(params)

    commit = RunDagOperator(
        task_id="commit",
        dag_to_run="lake_commit",
        limit=timedelta(hours=1),
        doc_md="Commit branch `ingest`. The run waits until the scheduled runs before it have ended.",
    )
    publish = RunDagOperator(
        task_id="publish",
        dag_to_run="nightly_batch",
        conf={"from": "{{ params['from'] }}", "to": "{{ params['to'] }}"},
        limit=timedelta(hours=9),  # a run of nightly_batch takes up to eight, and another one may be active
        doc_md="Build, audit and publish the days again.",
    )
    check() >> fetch() >> commit >> publish


backfill()
