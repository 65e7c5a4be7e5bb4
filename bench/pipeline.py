"""The moving parts of a whole pipeline: live producer and streaming job, each in its own process, without Airflow."""

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

from bench.harness import tree_cpu_s
from bench.stand import Program, Stand, empty_topics, program, until
from spark.conf import submit_conf
from stack.engine.fetch import jar_dir
from tickhouse.settings import REPO, Settings, ports


@contextmanager
def live_producer(bench: Stand, name: str) -> Iterator[Program]:
    """Run `python -m producer live` with its defaults, as stack/producer/service.yaml does."""
    with program(bench.file(f"{name}-producer.log"), [sys.executable, "-m", "producer", "live"]) as running:
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


def clean_slate(bench: Stand, settings: Settings) -> None:
    """Forget what an earlier benchmark left: topics, candles, hashes, checkpoints."""
    empty_topics(settings)
    with psycopg.connect(settings.database_dsn("owner")) as connection:
        connection.execute("TRUNCATE market.candles_1m, market.trade_ranges")
    with redis.Redis.from_url(settings.redis_dsn()) as client:
        client.flushdb()
    shutil.rmtree(bench.home / "stream", ignore_errors=True)


@contextmanager
def streaming_job(bench: Stand, name: str) -> Iterator[Program]:
    """Submit `spark/streaming.py` as dags/stream_trades.py does, wait until its queries run, and stop it at the end."""
    conf = submit_conf(jar_dir(REPO / "spark" / "jars" / "pom.xml"), ports()["spark_ui"])
    command = [
        str(Path(sys.executable).with_name("spark-submit")),
        "--master",
        "local[7]",
        "--name",
        "tickhouse-stream",
    ]
    for key, value in conf.items():
        command += ["--conf", f"{key}={value}"]
    command.append(str(REPO / "spark" / "streaming.py"))
    env = {"SPARK_LOCAL_IP": "127.0.0.1", "PYTHONPATH": str(REPO), "PYSPARK_PYTHON": sys.executable}
    folder = bench.home / "stream"
    with program(bench.file(f"{name}-spark.log"), command, **env) as running:

        def is_streaming() -> bool:
            running.require_alive()
            return bool(progress(folder)) and all(one["is_active"] for one in progress(folder).values())

        until(is_streaming, "the streaming job's queries", timeout_s=180, every_s=1)
        try:
            yield running
        finally:
            (folder / "stop").touch()  # open batches end first; a signal would be passed through two launchers
            deadline = time.monotonic() + 60
            while (folder / "stop").exists() and time.monotonic() < deadline:
                time.sleep(0.5)


def progress(folder: Path) -> dict[str, Any]:
    """Return what the streaming job says of its queries; empty before it says anything."""
    try:
        queries: dict[str, Any] = json.loads((folder / "progress.json").read_text())["queries"]
    except (OSError, ValueError):
        return {}
    return queries


class Cores:
    """How many cores each of some programs used since this was made."""

    def __init__(self, **programs: Program) -> None:
        self._pids = {name: one.process.pid for name, one in programs.items()}
        self._before = {name: tree_cpu_s(pid) for name, pid in self._pids.items()}
        self._at = time.perf_counter()

    def used(self) -> dict[str, float]:
        """Return cores by program."""
        wall = time.perf_counter() - self._at
        return {name: round((tree_cpu_s(pid) - self._before[name]) / wall, 3) for name, pid in self._pids.items()}
