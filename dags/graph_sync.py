"""Bring the graph up to date after each publication.

What: makes the graph in Neo4j equal to `main`: symbols with assets and pairs, listings as
exchangeInfo shows them, and the hours in which each symbol traded.
Why: questions about paths between assets are answered from published data only.
When: after each change of `main` by `nightly_batch` or `lake_rollback`; by hand for any ref that is
not older than the commit in the graph.
Prerequisites: `tickhouse up --service neo4j`, or an address in `NEO4J_URL`. Without one, the run is
skipped.

A repeated run for the same commit changes nothing and makes no event. The run after one that was
killed finishes its work.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import dag

from tickhouse.dag_tasks.announcement import announce
from tickhouse.dag_tasks.assets import GRAPH, MAIN, changes_of
from tickhouse.dag_tasks.deadlines import deadline
from tickhouse.dag_tasks.links import LAKE_COMMIT
from tickhouse.dag_tasks.params import ref_param
from tickhouse.dag_tasks.task import TASK_DEFAULTS, task


@dag(
    schedule=[MAIN],
    start_date=datetime(2024, 1, 1, tzinfo=UTC),
    max_active_runs=1,
    catchup=False,
    is_paused_upon_creation=False,
    description="Make the graph in Neo4j equal to main after each publication.",
    doc_md=__doc__,
    tags=["tickhouse", "lake", "graph"],
    params={"ref": ref_param("The lake ref that the graph shall equal. It must not be older than the graph.")},
    deadline=deadline(timedelta(hours=1)),
    dagrun_timeout=timedelta(hours=3),
    default_args={
        **TASK_DEFAULTS,
        "retries": 2,
        "retry_delay": timedelta(seconds=30),
        "execution_timeout": timedelta(hours=1),
    },
)
def graph_sync() -> None:
    """Synchronize the graph."""

    @task(inlets=[MAIN], outlets=[changes_of(GRAPH)], links=[LAKE_COMMIT])
    def sync(params: dict[str, Any]) -> dict[str, Any]:
        """Make the graph equal to a ref; return the commit and what changed."""
        from tickhouse.dag_tasks import graph_sync

        return graph_sync.sync_graph(params)

    sync() >> announce()


graph_sync()
