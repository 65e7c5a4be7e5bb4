"""The streaming application: `spark-submit spark/streaming.py` (Airflow's `stream_trades` does that).

Contract, in this order:

1. take the lease of the checkpoint folder (one driver at a time);
2. start every query from its own checkpoint;
3. a query that fails is started again alone, with backoff; the others go on;
4. on SIGTERM, or when the stop file appears: let open batches end, stop the queries, exit 0;
5. give up (exit 1, so that Airflow retries) when a query fails without a batch in between too often.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import structlog
from pyspark import SparkContext
from pyspark.sql import SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from spark.lease import Lease, jvm_lock, stream_folder
from spark.queries import Query, streaming_queries
from tickhouse.errors import TickhouseError
from tickhouse.settings import Settings, load_settings

log = structlog.get_logger("spark.streaming")

MOST_FAILURES = 20
PROGRESS_EVERY_S = 1.0
STOP_WAIT_S = 40.0


@dataclass(slots=True)
class Running:
    """A query, its handle, and how often it failed since its last finished batch."""

    query: Query
    handle: StreamingQuery
    failures: int = 0
    last_batch: int = -1
    retry_at: float = field(default=0.0)


class Application:
    """Starts the queries, watches them, stops them."""

    def __init__(self, spark: SparkSession, settings: Settings, stop: threading.Event) -> None:
        self._spark = spark
        self._settings = settings
        self._folder = stream_folder(settings)
        self._stop = stop
        self._running: list[Running] = []

    def run(self) -> None:
        """Run until asked to stop.

        Raises:
            TickhouseError: A query keeps failing.
        """
        queries = streaming_queries(self._settings, self._stop)
        self._running = [Running(query, self._start(query)) for query in queries]
        log.info("streaming", queries=[query.name for query in queries])
        while not self._should_stop():
            for running in self._running:
                self._watch(running)
            self._write_progress()
            self._stop.wait(PROGRESS_EVERY_S)
        self._drain()

    def _start(self, query: Query) -> StreamingQuery:
        # A fair pool a query, inherited by the thread that Spark starts for it.
        self._spark.sparkContext.setLocalProperty("spark.scheduler.pool", query.name)
        source = (
            self._spark.readStream.format("kafka")
            .option("kafka.bootstrap.servers", self._settings.kafka_bootstrap_servers)
            .option("subscribe", query.topic)
            .option("startingOffsets", "earliest")
            .option("maxOffsetsPerTrigger", query.most_records)
            .option("failOnDataLoss", "true")
            .load()
        )
        writer = source.writeStream.queryName(query.name).foreachBatch(query.run)
        checkpoint = self._folder / "checkpoints" / query.name
        return writer.option("checkpointLocation", str(checkpoint)).trigger(processingTime=query.every).start()

    def _watch(self, running: Running) -> None:
        progress = running.handle.lastProgress
        if progress is not None and progress["batchId"] != running.last_batch:
            running.last_batch, running.failures = progress["batchId"], 0
        if running.handle.isActive:
            return
        now = time.monotonic()
        if running.retry_at == 0.0:
            self._note_failure(running, now)
        elif now >= running.retry_at:
            running.retry_at = 0.0
            running.handle = self._start(running.query)

    def _note_failure(self, running: Running, now: float) -> None:
        running.failures += 1
        cause = str(running.handle.exception()).strip().splitlines()
        if running.failures > MOST_FAILURES:
            raise TickhouseError(
                f"Query {running.query.name} failed {running.failures} times without a batch in between: {cause[:1]}.",
                safe="Its checkpoint stands; the next run goes on from it.",
                next_command="tickhouse logs airflow-scheduler",
            )
        running.retry_at = now + min(2.0**running.failures, 30.0)
        log.warning("query_failed", query=running.query.name, failures=running.failures, cause=cause[:3])

    def _should_stop(self) -> bool:
        return self._stop.is_set() or (self._folder / "stop").exists()

    def _write_progress(self) -> None:
        report = {
            "pid": os.getpid(),
            "at_us": time.time_ns() // 1000,
            "queries": {running.query.name: progress_of(running) for running in self._running},
        }
        target = self._folder / "progress.json"
        fresh = target.with_suffix(".new")
        fresh.write_text(json.dumps(report))
        fresh.replace(target)

    def _drain(self) -> None:
        """Stop each query between two batches where that comes soon, in the middle of one where it does not."""
        log.info("stopping")
        self._stop.set()
        deadline = time.monotonic() + STOP_WAIT_S
        for running in self._running:
            while running.handle.isActive and running.handle.status["isTriggerActive"] and time.monotonic() < deadline:
                time.sleep(0.05)
            running.handle.stop()
        (self._folder / "stop").unlink(missing_ok=True)


def progress_of(running: Running) -> dict[str, Any]:
    """Return what `tickhouse status` shows of a query: `next_offsets` is the first offset a partition not yet done."""
    handle = running.handle
    progress = json.loads(handle.lastProgress.json) if handle.lastProgress is not None else {}
    sources = progress.get("sources") or [{}]
    return {
        "topic": running.query.topic,
        "is_active": handle.isActive,
        "failures": running.failures,
        "batch_id": progress.get("batchId"),
        "records": progress.get("numInputRows", 0),
        "duration_ms": progress.get("durationMs", {}),
        "next_offsets": (sources[0].get("endOffset") or {}).get(running.query.topic),
    }


def main() -> int:
    """Run the application; return the exit code."""
    settings = load_settings()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        # Before the session: the driver to be replaced may still hold the UI's port.
        # Kept in a variable to the end: the JVM collects what Python lets go of, and closing the file frees the lock.
        lease = Lease(stream_folder(settings), *jvm_lock(start_jvm()))
        lease.acquire()
        spark = SparkSession.builder.appName("tickhouse-stream").getOrCreate()
        Application(spark, settings, stop).run()
        spark.stop()
    except TickhouseError as error:
        log.error("failed", error=str(error))
        return error.exit_code
    return 0


def start_jvm() -> Any:
    """Return py4j's view of the driver's JVM, without a Spark context yet."""
    SparkContext._ensure_initialized()
    return SparkContext._jvm


if __name__ == "__main__":
    sys.exit(main())
