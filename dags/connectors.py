"""Deploy the sinks and look after them.

What: brings the Connect worker in line with `connectors/*.json`, restarts what has failed, compares the last event of
each store with that of its topic, and removes what is past its retention.
Why: a connector may say RUNNING and deliver nothing; a file may change without anybody deploying it.
When: every minute while a store of profile `sinks` runs, one run at a time; without these stores it has no schedule.
Prerequisites: `tickhouse up --profile sinks`.

`watch` fails when a store stays behind its topic by more than `tickhouse.connectors.watch.BOUND_S`. Nothing is lost
then: the topic keeps the events for a week, and every write may be repeated.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import dag, task


def schedule() -> timedelta | None:
    """Return how often to run: never where no store of profile `sinks` was started."""
    from stack.engine.enabled import enabled_sinks
    from tickhouse.settings import load_settings

    return timedelta(minutes=1) if enabled_sinks(load_settings()) else None


@dag(
    schedule=schedule(),
    start_date=datetime(2024, 1, 1, tzinfo=UTC),
    max_active_runs=1,
    catchup=False,
    is_paused_upon_creation=False,
    doc_md=__doc__,
    tags=["tickhouse", "connect", "sinks"],
    default_args={"retries": 1, "retry_delay": timedelta(seconds=10)},
)
def connectors() -> None:
    """Deploy, then watch."""

    @task
    def deploy() -> dict[str, str]:
        """Apply the files of the stores that take part; return what was done by connector."""
        from tickhouse.connectors.plan import apply
        from tickhouse.connectors.watch import of_enabled_stores
        from tickhouse.connectors.worker import Worker
        from tickhouse.settings import load_settings

        settings = load_settings()
        with Worker(settings.connect_url) as worker:
            return {one.name: one.action for one in apply(worker, settings, of_enabled_stores(settings))}

    @task
    def watch() -> dict[str, object]:
        """Restart what has failed, then require every store to keep up with its topic."""
        from tickhouse.connectors.watch import of_enabled_stores, require_fresh, restart_failed
        from tickhouse.connectors.worker import Worker
        from tickhouse.settings import load_settings

        settings = load_settings()
        wanted = of_enabled_stores(settings)
        with Worker(settings.connect_url) as worker:
            restarted = restart_failed(worker, wanted)
        return {"restarted": restarted, "newest": [one.document() for one in require_fresh(settings, wanted)]}

    @task
    def expire() -> list[str]:
        """Remove the indices that are past their retention; return their names."""
        import time

        from stack.engine.enabled import enabled_sinks
        from tickhouse.connectors.retention import expire as expire_indices
        from tickhouse.settings import load_settings

        settings = load_settings()
        return expire_indices(settings, time.time()) if "elasticsearch" in enabled_sinks(settings) else []

    deploy() >> watch() >> expire()


connectors()
