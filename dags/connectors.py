"""Deploy the Kafka Connect sinks and monitor them.

What: applies `connectors/*.json` to the Connect worker, restarts failed connectors, and compares
the newest event of each store with that of its topic.
Why: a connector can report RUNNING and deliver nothing, and a changed file has no effect until
somebody deploys it.
When: each minute while a store of profile `sinks` runs, one run at a time. Without these stores the
DAG has no schedule.
Prerequisites: `tickhouse up --profile sinks`.

Task `watch` fails when a store stays behind its topic by more than 90 seconds
(`tickhouse.connectors.watch.BOUND_S`). No event is lost then: the topic keeps its events for a
week, and each write may be repeated.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import dag

from tickhouse.dag_tasks.deadlines import deadline
from tickhouse.dag_tasks.task import TASK_DEFAULTS, task


def schedule() -> timedelta | None:
    """Return how often to run; None when no store of profile `sinks` was started."""
    from common.settings import load_settings
    from stack.engine.enabled import enabled_sinks

    return timedelta(minutes=1) if enabled_sinks(load_settings()) else None


@dag(
    schedule=schedule(),
    start_date=datetime(2024, 1, 1, tzinfo=UTC),
    max_active_runs=1,
    catchup=False,
    is_paused_upon_creation=False,
    description="Deploy the Kafka Connect sinks, and watch that their stores keep up.",
    doc_md=__doc__,
    tags=["tickhouse", "connect", "sinks"],
    deadline=deadline(timedelta(minutes=10)),
    dagrun_timeout=timedelta(minutes=15),
    default_args={
        **TASK_DEFAULTS,
        "retries": 1,
        "retry_delay": timedelta(seconds=10),
        "execution_timeout": timedelta(minutes=5),
    },
)
def connectors() -> None:
    """Deploy, then watch."""

    @task()
    def deploy() -> dict[str, str]:
        """Apply the connector files of the enabled stores; return the action per connector."""
        from tickhouse.dag_tasks import connectors

        return connectors.deploy()

    @task()
    def watch() -> dict[str, object]:
        """Restart failed connectors, then require each store to keep up with its topic."""
        from tickhouse.dag_tasks import connectors

        return connectors.watch()

    deploy() >> watch()


connectors()
