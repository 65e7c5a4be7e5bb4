"""The graph is synchronized where Neo4j is enabled, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from stack.engine import supervisor
from tests.unit.tickhouse.dag_tasks.contexts import ToldRun
from tickhouse.dag_tasks import graph_sync
from tickhouse.graph.sync import GraphSync


@pytest.fixture
def synchronized(monkeypatch: pytest.MonkeyPatch, told: ToldRun) -> list[str]:
    """The refs that were synchronized, in a home without services."""
    refs: list[str] = []

    def sync(_: Any, ref: str, __: Callable[[str], None]) -> GraphSync:
        refs.append(ref)
        return GraphSync("c1", 1, 0, 1, 24)

    monkeypatch.delenv("NEO4J_URL", raising=False)
    monkeypatch.setattr(supervisor, "states", dict)
    monkeypatch.setattr(graph_sync, "sync", sync)
    return refs


def test_without_neo4j_the_run_is_skipped_and_says_so(synchronized: list[str]) -> None:
    with pytest.raises(AirflowSkipException, match="Neo4j is not enabled"):
        graph_sync.sync_graph({"ref": "main"})
    assert synchronized == []


def test_an_own_neo4j_is_synchronized(synchronized: list[str], monkeypatch: pytest.MonkeyPatch, told: ToldRun) -> None:
    monkeypatch.setenv("NEO4J_URL", "bolt://127.0.0.1:9")

    assert graph_sync.sync_graph({"ref": "main"})["hours"] == 24
    assert synchronized == ["main"]
    changes = {"symbols": 1, "listings": 0, "days": 1, "hours": 24}
    assert told.events == [("graph", {"commit": "c1", **changes})]
    assert told.notes == ["The graph equals c1 of the lake; changed: 1 days with 24 hours, 1 symbols, 0 listings."]


def test_a_graph_that_did_not_change_makes_no_event(
    synchronized: list[str], monkeypatch: pytest.MonkeyPatch, told: ToldRun
) -> None:
    monkeypatch.setenv("NEO4J_URL", "bolt://127.0.0.1:9")
    monkeypatch.setattr(graph_sync, "sync", lambda *_: GraphSync("c1", 0, 0, 0, 0))

    graph_sync.sync_graph({"ref": "main"})

    assert told.events == []


def test_a_neo4j_that_was_started_here_is_synchronized_also_after_it_failed(
    synchronized: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "states", lambda: {"neo4j": "FATAL"})

    graph_sync.sync_graph({"ref": "daily-2024-08-08"})
    assert synchronized == ["daily-2024-08-08"]
