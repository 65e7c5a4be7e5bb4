"""Metrics of what is too heavy to start for a test of the dashboards: Spark, Airflow, Connect.

Names and labels come from the code that exports them; only the values are made up. Every other
metric of the test is that of a server that runs.
"""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tickhouse.metrics.figures import Figure, families

QUERIES = ("candles", "last", "enriched", "lake_trades", "lake_ticks")
CONNECTORS = ("mongodb_trades", "elasticsearch_trades", "cassandra_trades")
DAGS = ("stream_trades", "lake_commit", "nightly_batch", "connectors")


class RecordedFigures(Collector):
    """The figures of an ordinary minute; counters grow with the clock."""

    def collect(self) -> Iterator[Metric]:
        grown = time.time() % 100_000
        yield from families(_figures(grown))
        sent = CounterMetricFamily("connect_sink_records_sent", "recorded", labels=["connector", "task"])
        failures = CounterMetricFamily("connect_task_failures", "recorded", labels=["connector", "task"])
        put = GaugeMetricFamily("connect_sink_put_batch_avg_seconds", "recorded", labels=["connector", "task"])
        for number, connector in enumerate(CONNECTORS):
            sent.add_metric([connector, "0"], grown * (number + 1))
            failures.add_metric([connector, "0"], 0)
            put.add_metric([connector, "0"], 0.01 * (number + 1))
        yield from (sent, failures, put)


def _figures(grown: float) -> Iterator[Figure]:
    for number, query in enumerate(QUERIES):
        yield Figure("query_active", 1, (query,))
        yield Figure("query_batch_seconds", 0.4 + number / 10, (query,))
        yield Figure("query_batch_records", 100 * number, (query,))
        yield Figure("query_lost_ranges", 0, (query,))
        yield Figure("consumer_read_records", grown * 50, (f"stream:{query}",))
        yield Figure("consumer_lag_records", number, (f"stream:{query}",))
    for number, connector in enumerate(CONNECTORS):
        yield Figure("connector_running", number > 0, (connector,))
        yield Figure("consumer_lag_records", number, (f"connect-{connector}",))
    for dag in DAGS:
        yield Figure("dag_last_run_failed", dag == "connectors", (dag,))
        yield Figure("dag_last_run_age_seconds", 60, (dag,))
    for component in ("scheduler", "dag_processor", "triggerer"):
        yield Figure("airflow_heartbeat_age_seconds", 3, (component,))
    yield Figure("gaps_open_ids", 0, ("spot", "aggTrade"))
    yield Figure("audit_passed", 1)
    yield Figure("audit_age_seconds", 3600)


@contextmanager
def served() -> Iterator[str]:
    """Serve the metrics until the end of the block; gives `HOST:PORT`."""
    registry = CollectorRegistry()
    registry.register(RecordedFigures())
    merges = Counter("tickhouse_gate_merges", "recorded", ["result"], registry=registry)
    for result in ("passed", "refused"):
        merges.labels(result).inc()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = generate_latest(registry)
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
