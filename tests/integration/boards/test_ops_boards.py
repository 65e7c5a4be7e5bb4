"""Every panel on Prometheus returns data from the native server, and the API gives it to the page.

Kafka, PostgreSQL, Redis, lakeFS, the API and the exporters run. What Spark, Airflow and Connect
would export is served by the test (`recorded_metrics.py`).

With `TICKHOUSE_TEST_PROMETHEUS=http://127.0.0.1:21092` the panels are also asked of a stack that
runs already, for example that of `tickhouse demo`, whose values are all real.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from api.models import OpsAlertAnswer, OpsBoardAnswer
from api.ops_boards import PanelQuery, ops_dashboards
from api.principals import KEY_HEADER
from common.settings import Settings
from stack.engine import supervisor
from tests.eventually import eventually
from tests.integration.boards.grafana_queries import GrafanaQuery, queries
from tests.integration.boards.recorded_metrics import served

pytestmark = pytest.mark.integration
PANELS = queries("prometheus")
# Shorter than in service: a rate needs two scrapes, and a recording rule a third one.
EVERY_S = 2
RUNNING = os.environ.get("TICKHOUSE_TEST_PROMETHEUS", "")
# These are measured on servers that run in this test; the others need what it does not start.
LIVE = {
    *("Stores", "Stores that do not answer", "Dead letters kept", "Dead letters", "Alerts firing", "Broker"),
    *("Records per second into each topic", "Records per second into Kafka", "Records kept", "Bytes per second"),
    *("Duration of requests, 99th percentile", "Size of the topics on disk", "Heap in use", "lakeFS"),
    *("Partitions without a leader", "Partitions with missing replicas", "Age of the newest event"),
    *("Requests per second of the read API", "95th percentile of the read API"),
    *("Age of the newest commit of ingest", "Age of the newest commit of main", "Age of the newest commit"),
}


@dataclass(frozen=True)
class Asked:
    """A Prometheus server."""

    url: str

    def series(self, query: GrafanaQuery) -> list[dict[str, Any]]:
        """Return the series of a panel's query over the last 15 minutes, or its newest values."""
        panel = PanelQuery(query.target["expr"], query.target["legendFormat"], query.target["instant"])
        answer = httpx.get(f"{self.url}/api/v1/query", params={"query": panel.promql(900)}, trust_env=False)
        assert answer.status_code == 200, f"{query.name}: {answer.text}"
        found: list[dict[str, Any]] = answer.json()["data"]["result"]
        return found


@pytest.fixture(scope="module")
def prometheus(settings: Settings) -> Iterator[tuple[Asked, frozenset[str]]]:
    """The native Prometheus, and the names of the queries that real servers answer."""
    from stack.engine.lifecycle import up

    up(services=["exporters", "kafka", "redis", "lakefs", "api", "prometheus"])
    dead_letter(settings)
    config = settings.home / "conf" / "prometheus" / "prometheus.yml"
    fast = (
        config.read_text()
        .replace("scrape_interval: 10s", f"scrape_interval: {EVERY_S}s")
        .replace("scrape_timeout: 9s", f"scrape_timeout: {EVERY_S}s")
        .replace("evaluation_interval: 10s", f"evaluation_interval: {EVERY_S}s")
        .replace("refresh_interval: 10s", f"refresh_interval: {EVERY_S}s")
    )
    reload(config, fast)
    asked = Asked(settings.prometheus_url)
    httpx.get(f"{settings.api_url}/healthz", trust_env=False)  # the API then has a request to report
    live = [one for one in PANELS if one.panel in LIVE or one.dashboard == "Machine"]
    eventually(lambda: all(asked.series(one) for one in live), 90)
    real = frozenset(one.name for one in PANELS if asked.series(one))
    with served() as address:
        job = f"  - job_name: recorded\n    static_configs: [{{targets: ['{address}']}}]\n"
        reload(config, fast + job)
        eventually(lambda: all(asked.series(one) for one in PANELS), 90)
        yield asked, real


def reload(config: Any, text: str) -> None:
    """Give Prometheus another configuration."""
    config.write_text(text)
    pid = supervisor.states()["prometheus"].pid
    assert pid
    os.kill(pid, signal.SIGHUP)


def dead_letter(settings: Settings) -> None:
    """Send a record and read it, so that the broker has bytes of both directions to report."""
    from confluent_kafka import Consumer, Producer, TopicPartition

    servers = {"bootstrap.servers": settings.kafka_bootstrap_servers}
    producer = Producer(servers)
    producer.produce("dlq.spark", b"?", partition=0)
    assert producer.flush(60) == 0
    consumer = Consumer({**servers, "group.id": "boards", "enable.auto.commit": False})
    consumer.assign([TopicPartition("dlq.spark", 0, 0)])
    assert consumer.consume(1, timeout=60)
    consumer.close()


@pytest.mark.parametrize("query", PANELS, ids=lambda one: one.name)
def test_a_panel_returns_data(
    prometheus: tuple[Asked, frozenset[str]], query: GrafanaQuery, rows_of_queries: dict[str, int]
) -> None:
    asked, _ = prometheus
    series = asked.series(query)
    rows_of_queries[query.name] = len(series)
    assert series
    labels = {name for one in series for name in one["metric"]}
    used = {word.split("}}")[0] for word in query.target["legendFormat"].split("{{")[1:]}
    assert used <= labels, "Expected the legend to name labels that the series have"


def test_most_panels_are_answered_by_servers_that_run(prometheus: tuple[Asked, frozenset[str]]) -> None:
    _, real = prometheus
    assert len(real) > len(PANELS) / 2


def test_the_api_gives_every_board(settings: Settings, prometheus: tuple[Asked, frozenset[str]]) -> None:
    with client(settings) as http:
        names = [one["board"] for one in http.get("/v1/ops/boards").raise_for_status().json()["data"]]
        assert names == [*ops_dashboards()]
        for name in names:
            # A curve ends at a whole step, which may be before the recorded metrics came.
            eventually(lambda name=name: empty_panels(http, name) == [], 60)  # type: ignore[misc]
        for alert in http.get("/v1/ops/alerts").raise_for_status().json()["data"]:
            OpsAlertAnswer.model_validate(alert)


def empty_panels(http: httpx.Client, name: str) -> list[str]:
    document = http.get(f"/v1/ops/boards/{name}?range=15m").raise_for_status().json()
    board = OpsBoardAnswer.model_validate(document)
    return [panel.title for panel in board.panels if panel.problem or not panel.series]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/ops/boards/no-such", 404),
        ("/v1/ops/boards/tickhouse-market", 404),
        ("/v1/ops/boards/tickhouse-machine?range=2y", 422),
        ("/v1/ops/boards/tickhouse-machine?query=up", 422),
        ("/v1/ops/alerts?x=1", 422),
    ],
)
def test_nothing_else_can_be_asked(
    settings: Settings, prometheus: tuple[Asked, frozenset[str]], path: str, status: int
) -> None:
    with client(settings) as http:
        assert http.get(path).status_code == status
        assert httpx.get(f"{settings.api_url}{path}", trust_env=False).status_code in (401, 422)


def test_without_prometheus_the_api_says_what_to_run(
    settings: Settings, prometheus: tuple[Asked, frozenset[str]]
) -> None:
    from stack.engine.lifecycle import up

    supervisor.stop(["prometheus"])
    with client(settings) as http:
        answer = eventually(lambda: found if (found := http.get("/v1/ops/alerts")).status_code == 503 else None)
        assert answer.json()["type"].endswith("store-off")
        assert answer.json()["next"] == "tickhouse up --profile observe"
    up(services=["prometheus"])


def client(settings: Settings) -> httpx.Client:
    key = settings.api_read_key.get_secret_value()
    return httpx.Client(base_url=settings.api_url, headers={KEY_HEADER: key}, timeout=60, trust_env=False)


@pytest.mark.skipif(not RUNNING, reason="TICKHOUSE_TEST_PROMETHEUS does not name a running Prometheus")
def test_every_panel_returns_data_on_a_stack_that_runs() -> None:
    assert [query.name for query in PANELS if not Asked(RUNNING).series(query)] == []
