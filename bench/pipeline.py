"""Live producer and streaming job, each in its own process, without Airflow."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import redis
from prometheus_client.parser import text_string_to_metric_families

from bench.bench_stack import BenchProgram, BenchStack, empty_topics, running_program, wait_for
from bench.harness import tree_cpu_s
from common.polling import poll_until
from common.settings import REPO, Settings, ports
from spark.conf import jar_list, stream_submit_conf, submit_command
from stack.engine.fetch import jar_dir


@contextmanager
def live_producer(bench: BenchStack, name: str) -> Iterator[BenchProgram]:
    """Run `python -m producer live` with its defaults, as stack/producer/service.yaml does."""
    with running_program(bench.file(f"{name}-producer.log"), [sys.executable, "-m", "producer", "live"]) as running:
        yield running


def producer_metrics() -> dict[str, float]:
    """Return the producer's metrics by name, without prefix; empty before it listens.

    Of `events` only the trades delivered, as `delivered`.
    """
    try:
        text = httpx.get(f"http://127.0.0.1:{ports()['producer_metrics']}/metrics", timeout=5).text
    except httpx.HTTPError:
        return {}
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            short = sample.name.removeprefix("tickhouse_producer_")
            if short != "events_total":
                found[short] = sample.value
            elif (sample.labels["stream"], sample.labels["outcome"]) == ("aggTrade", "delivered"):
                found["delivered"] = sample.value
    return found


def remove_earlier_data(bench: BenchStack, settings: Settings) -> None:
    """Remove what an earlier benchmark left: topics, candles, hashes, checkpoints."""
    empty_topics(settings)
    with psycopg.connect(settings.database_dsn("owner")) as connection:
        connection.execute("TRUNCATE market.candles_1m, market.trade_ranges")
    with redis.Redis.from_url(settings.redis_dsn()) as client:
        client.flushdb()
    shutil.rmtree(bench.home / "stream", ignore_errors=True)


@contextmanager
def streaming_job(bench: BenchStack, name: str) -> Iterator[BenchProgram]:
    """Run the streaming job as dags/stream_trades.py does, from its first query until the end."""
    jars = jar_list(jar_dir(REPO / "spark" / "jars" / "pom.xml"))
    conf = stream_submit_conf(jars, str(ports()["spark_ui"]))
    command = submit_command(REPO / "spark" / "streaming" / "job.py", conf, master="local[7]")
    env = {"SPARK_LOCAL_IP": "127.0.0.1", "PYTHONPATH": str(REPO), "PYSPARK_PYTHON": sys.executable}
    folder = bench.home / "stream"
    with running_program(bench.file(f"{name}-spark.log"), command, **env) as running:

        def is_streaming() -> bool:
            running.require_alive()
            return bool(progress(folder)) and all(query["is_active"] for query in progress(folder).values())

        wait_for(is_streaming, "the streaming job's queries", timeout_s=180, every_s=1)
        try:
            yield running
        finally:
            (folder / "stop").touch()  # open batches end first; a signal would go through two launchers
            poll_until(lambda: not (folder / "stop").exists(), 60)


def progress(folder: Path) -> dict[str, Any]:
    """Return the streaming job's report of its queries; empty before the first report."""
    try:
        queries: dict[str, Any] = json.loads((folder / "progress.json").read_text())["queries"]
    except (OSError, ValueError):
        return {}
    return queries


class CoresUsed:
    """How many cores each program used since this was created."""

    def __init__(self, **programs: BenchProgram) -> None:
        self._pids = {name: program.process.pid for name, program in programs.items()}
        self._before = {name: tree_cpu_s(pid) for name, pid in self._pids.items()}
        self._at = time.perf_counter()

    def used(self) -> dict[str, float]:
        """Return cores by program."""
        wall = time.perf_counter() - self._at
        return {name: round((tree_cpu_s(pid) - self._before[name]) / wall, 3) for name, pid in self._pids.items()}
