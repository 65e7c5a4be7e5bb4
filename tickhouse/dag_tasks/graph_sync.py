"""The task of DAG `graph_sync`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import structlog
from airflow.sdk.exceptions import AirflowSkipException

from common.settings import load_settings
from stack.engine.enabled import is_graph_enabled
from tickhouse.graph.sync import sync

log = structlog.get_logger("tickhouse.graph")


def sync_graph(params: Mapping[str, Any]) -> dict[str, Any]:
    """Make the graph equal to parameter `ref`; return the fields of `GraphSync`.

    Raises:
        AirflowSkipException: Neo4j is not enabled.
        ConfigurationError: There is no such ref, or the graph holds a newer commit.
        StoreUnavailable: The lake or Neo4j does not answer.
    """
    settings = load_settings()
    if not is_graph_enabled(settings):
        raise AirflowSkipException(
            "Neo4j is not enabled: start it with tickhouse up --service neo4j, or give NEO4J_URL."
        )
    return asdict(sync(settings, params["ref"], log.warning))
