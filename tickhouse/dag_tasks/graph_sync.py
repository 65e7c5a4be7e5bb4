"""The task of DAG `graph_sync`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import structlog
from airflow.sdk.exceptions import AirflowSkipException

from common.settings import load_settings
from stack.engine.enabled import is_graph_enabled
from tickhouse.dag_tasks.assets import GRAPH
from tickhouse.dag_tasks.links import LakeCommitLink, commit_url
from tickhouse.dag_tasks.run_report import RunReport, short
from tickhouse.graph.sync import sync

log = structlog.get_logger("tickhouse.graph")
# Fields of `GraphSync` that are counts of changes.
CHANGES = ("symbols", "listings", "days", "hours")


def sync_graph(params: Mapping[str, Any]) -> dict[str, Any]:
    """Make the graph equal to parameter `ref`; return the fields of `GraphSync`.

    Raises:
        AirflowSkipException: Neo4j is not enabled.
        ConfigurationError: There is no such ref, or the graph holds a newer commit.
        StoreUnavailable: The lake or Neo4j does not answer.
    """
    settings = load_settings()
    report = RunReport.current(settings)
    if not is_graph_enabled(settings):
        text = "Neo4j is not enabled: start it with tickhouse up --service neo4j, or give NEO4J_URL."
        report.note(text)
        raise AirflowSkipException(text)
    done = asdict(sync(settings, params["ref"], log.warning))
    report.link(LakeCommitLink.name, commit_url(settings, done["commit_id"]))
    if any(done[name] for name in CHANGES):
        report.changed(GRAPH, done["commit_id"], **{name: done[name] for name in CHANGES})
    report.note(note_of(done))
    return done


def note_of(done: Mapping[str, Any]) -> str:
    """Return the note of a run (pure)."""
    counts = f"{done['days']} days with {done['hours']} hours, {done['symbols']} symbols, {done['listings']} listings"
    return f"The graph equals {short(done['commit_id'])} of the lake; changed: {counts}."
