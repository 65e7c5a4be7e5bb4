"""What Prometheus scrapes: the processes of the services that were started in this home.

Prometheus asks for the list over HTTP (`http_sd_configs`). A program that has failed stays on it,
so that it is seen as down.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Final

from common.settings import home, is_light, ports
from stack.engine import supervisor
from tickhouse.stream.query_state import FRESH_S, progress

HOST: Final = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class ScrapeJob:
    """One process that serves metrics.

    Attributes:
        job: Label `job` of its metrics.
        program: The supervised program; empty for this process and for Spark's driver.
        port: Name in `stack/ports.yaml`.
        path: Where its metrics are.
        is_agent: It is the JMX agent in a server, which a small machine leaves out.
    """

    job: str
    program: str
    port: str
    path: str = "/metrics"
    is_agent: bool = False


JOBS: Final = (
    ScrapeJob("prometheus", "prometheus", "prometheus"),
    ScrapeJob("alertmanager", "alertmanager", "alertmanager"),
    ScrapeJob("store_metrics", "store_metrics", "store_metrics"),
    ScrapeJob("node", "node_exporter", "node_exporter"),
    ScrapeJob("postgres", "postgres_exporter", "postgres_exporter"),
    ScrapeJob("redis", "redis_exporter", "redis_exporter"),
    ScrapeJob("kafka", "kafka", "kafka_jmx", is_agent=True),
    ScrapeJob("connect", "connect", "connect_jmx", is_agent=True),
    ScrapeJob("cassandra", "cassandra", "cassandra_jmx", is_agent=True),
    ScrapeJob("rabbitmq", "rabbitmq", "rabbitmq_metrics"),
    ScrapeJob("influxdb", "influxdb", "influxdb"),
    ScrapeJob("minio", "minio", "minio", "/minio/v2/metrics/cluster"),
    ScrapeJob("producer", "producer", "producer_metrics"),
    ScrapeJob("live_spot", "live_spot", "live_spot_metrics"),
    ScrapeJob("live_usdm", "live_usdm", "live_usdm_metrics"),
    ScrapeJob("live_coinm", "live_coinm", "live_coinm_metrics"),
    ScrapeJob("api", "api", "api"),
    ScrapeJob("lake_gate", "lake_gate", "lake_gate"),
    ScrapeJob("alert_watcher", "alert_watcher", "watcher_metrics"),
    ScrapeJob("alert_bridge", "alert_bridge", "bridge_metrics"),
    ScrapeJob("notification_worker", "notification_worker", "notifier_metrics"),
)
# The driver is a task of Airflow, not a program. `query_active` says when it is gone.
SPARK: Final = (
    ScrapeJob("spark", "", "spark_ui", "/metrics/prometheus"),
    ScrapeJob("spark_executors", "", "spark_ui", "/metrics/executors/prometheus"),
)


def targets() -> list[dict[str, Any]]:
    """Return the targets as Prometheus' HTTP service discovery expects them."""
    return [_target(job) for job in wanted(supervisor.states(), is_light=is_light(), has_driver=_has_driver())]


def wanted(programs: Collection[str], *, is_light: bool, has_driver: bool) -> Iterator[ScrapeJob]:
    """Yield the jobs whose program supervisord knows (pure)."""
    for job in JOBS:
        if job.program in programs and not (job.is_agent and is_light):
            yield job
    if has_driver:
        yield from SPARK


def _target(job: ScrapeJob) -> dict[str, Any]:
    labels = {"job": job.job, "__metrics_path__": job.path}
    return {"targets": [f"{HOST}:{ports()[job.port]}"], "labels": labels}


def _has_driver() -> bool:
    at_us = progress(home() / "stream").get("at_us", 0)
    return bool(time.time() - at_us / 1e6 < FRESH_S)
