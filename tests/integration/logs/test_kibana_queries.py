"""The queries of the Kibana objects, run on the native Elasticsearch over logs of our processes."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from common.clients.elasticsearch import connected
from common.settings import REPO
from tests.eventually import eventually
from tests.integration.logs.conftest import LogHome
from tickhouse.logs.search import INDICES

pytestmark = pytest.mark.integration

OBJECTS = [json.loads(line) for line in (REPO / "observe" / "logs" / "kibana.ndjson").read_text().splitlines()]
WITH_QUERY = [one for one in OBJECTS if one["type"] in ("search", "visualization")]

# The calls of spark/streaming/queries.py, tickhouse/notifications/worker.py and
# tickhouse/lake/merge_gate.py.
OUR_MESSAGES = """
import structlog
from common.logs import configure_logging, correlated
configure_logging("spark-stream")
log = structlog.get_logger()
with correlated("lake_trades:7", stream__query="lake_trades", stream__batch_id=7):
    log.info("batch", **{"event.duration": 2_000_000_000})
    log.warning("dead_letters", table="trades", records=3)
log.error("notification_dead", channel="file", reason="refused")
log.info("merge_refused", reason="no audit")
"""


def source(one: dict[str, Any]) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(one["attributes"]["kibanaSavedObjectMeta"]["searchSourceJSON"])
    return document


def query_of(one: dict[str, Any]) -> dict[str, Any]:
    query = source(one)["query"]
    assert query["language"] == "lucene"
    return {"query_string": {"query": query["query"]}}


@pytest.fixture(scope="module")
def written(logs: LogHome) -> LogHome:
    with logs.log("alert_watcher").open("a") as file:
        subprocess.run([sys.executable, "-c", OUR_MESSAGES], stderr=file, check=True)
    eventually(lambda: logs.documents({"term": {"event.action": "merge_refused"}}), timeout_s=60)
    return logs


@pytest.mark.parametrize("one", WITH_QUERY, ids=lambda one: one["id"])
def test_each_query_returns_rows(written: LogHome, one: dict[str, Any]) -> None:
    assert written.documents(query_of(one))


def test_the_latency_picture_has_a_value_for_the_query(written: LogHome) -> None:
    (picture,) = [one for one in OBJECTS if one["type"] == "visualization"]
    parts = {part["schema"]: part for part in json.loads(picture["attributes"]["visState"])["aggs"]}
    metric, group = parts["metric"]["params"], parts["group"]["params"]

    with connected(written.settings, "reader") as client:
        percentiles = {"percentiles": {"field": metric["field"], "percents": metric["percents"]}}
        terms = {"terms": {"field": group["field"]}, "aggs": {"took": percentiles}}
        answer = client.search(index=INDICES, size=0, query=query_of(picture), aggs={"queries": terms})

    by_query = {one["key"]: one["took"]["values"] for one in answer["aggregations"]["queries"]["buckets"]}
    assert by_query["lake_trades"]["50.0"] > 0
