"""Bring trades of the past into the lakehouse.

What: fetches the trades of one symbol by REST, or replays an archive file. Then it commits the lake
and runs `nightly_batch`, which builds and publishes the days again.
Why: trades from gaps that the live producer could not fill, and from before it ran, pass through
the same pipeline as live trades.
When: by hand. With parameter `file`, an archive below `<home>/archives` on the scheduler's machine
is replayed: a zip or CSV of data.binance.vision, or a recorded capture. Without it, the days are
fetched by REST.
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

from tickhouse.dag_tasks.announcement import announce
from tickhouse.dag_tasks.deadlines import deadline
from tickhouse.dag_tasks.links import LAKE_COMMIT
from tickhouse.dag_tasks.params import FILE_SECTION, MARKETS, SYMBOL_PATTERN, SYMBOLS, day_param
from tickhouse.dag_tasks.run_dag import RunDagOperator
from tickhouse.dag_tasks.task import TASK_DEFAULTS, task


@dag(
    schedule=None,
    start_date=datetime(2024, 1, 1, tzinfo=UTC),
    max_active_runs=1,
    max_active_tasks=2,
    catchup=False,
    is_paused_upon_creation=False,
    description="Bring trades of the past into the lakehouse, and publish their days.",
    doc_md=__doc__,
    tags=["tickhouse", "lake", "producer"],
    params={
        "market": Param(
            "spot",
            type="string",
            enum=list(MARKETS),
            values_display=MARKETS,
            title="Market",
            description="Spot, or one of the futures markets.",
        ),
        "symbol": Param(
            type="string",
            pattern=SYMBOL_PATTERN,
            examples=list(SYMBOLS),
            title="Symbol",
            description="As the exchange writes it. Choose one, or type any other.",
        ),
        "from": day_param("First day", "The first day to bring and to publish.", is_required=True),
        "to": day_param("Last day", "Included. At most 92 days in one run.", is_required=True),
        "file": Param(
            None,
            type=["null", "string"],
            pattern=r"^/[^\0]{1,1000}$",
            title="Archive file",
            description="Replay this file instead of fetching the days by REST: a path on the scheduler's machine "
            "below <home>/archives, or below a folder of ARCHIVE_FOLDERS.",
            section=FILE_SECTION,
        ),
    },
    deadline=deadline(timedelta(hours=12)),
    dagrun_timeout=timedelta(hours=18),
    default_args={
        **TASK_DEFAULTS,
        "retries": 2,
        "retry_delay": timedelta(seconds=15),
        "execution_timeout": timedelta(hours=8),
    },
)
def backfill() -> None:
    """Fetch or replay, commit, publish."""

    @task(execution_timeout=timedelta(minutes=5))
    def check(params: dict[str, Any], dag_run: Any) -> None:
        """Fail before hours of fetching if a parameter is wrong or a needed DAG is paused."""
        from tickhouse.dag_tasks import backfill

        backfill.check(params, dag_run)

    @task()
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

    @task(links=[LAKE_COMMIT])
    def conclude(params: dict[str, Any], fetched: dict[str, Any]) -> None:
        """Say in the run's note what was fetched, and at which commit `main` is."""
        from tickhouse.dag_tasks import backfill

        backfill.conclude(params, fetched)

    fetched = fetch()
    check() >> fetched >> commit >> publish >> conclude(fetched=fetched) >> announce()


backfill()
