"""The recovery knows exactly the queries that the application runs."""

from __future__ import annotations

import threading

from common.settings import Settings
from spark.checkpoints.recovery import QUERY_SPECS
from spark.streaming.queries import streaming_queries


def test_every_query_is_recovered_with_its_own_topic() -> None:
    queries = streaming_queries(Settings(), threading.Event())  # opens no connection yet

    assert [(spec.name, spec.topic) for spec in QUERY_SPECS] == [(query.name, query.topic) for query in queries]
    assert [spec.is_lake for spec in QUERY_SPECS] == [spec.name.startswith("lake_") for spec in QUERY_SPECS]
    assert {spec.name: spec.store for spec in QUERY_SPECS if spec.store} == {
        "statistics": "geode",
        "series": "influxdb",
    }
