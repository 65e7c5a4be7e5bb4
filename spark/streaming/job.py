"""The streaming application. DAG `stream_trades` submits it.

Contract, in this order:

1. Take the lease of the checkpoint folder, so that one driver runs at a time.
2. Before each start of a query, compare its checkpoint with Kafka and repair it
   (`checkpoints/recovery.py`). Offsets that Kafka dropped before the query had read them are
   recorded first; then the query continues with the records that are there.
3. Start each query from its own checkpoint.
4. When a query fails, repeat from step 2 for this query, with backoff; the others continue. The
   same happens when the topic of a query was deleted and created again while it ran.
5. On SIGTERM, or when the stop file appears, let open batches end, stop the queries, and exit with
   0.
6. When a query fails too often without a finished batch in between, exit with 1, so that Airflow
   retries.

Spark's option `failOnDataLoss` stays true: missing offsets end the query, and step 2 records them.
With false, Spark would skip them.
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

from common.errors import ServiceNotReady, TickhouseError, TransientError
from common.logs import configure_logging
from common.settings import Settings, load_settings
from spark.checkpoints.bronze_offsets import bronze_offsets_reader
from spark.checkpoints.driver_lease import Lease, jvm_lock, stream_folder
from spark.checkpoints.recovery import QUERY_SPECS, checkpoint_folder, plan_of, recover, starting_offsets
from spark.checkpoints.start_offsets import Reason, StartPlan
from spark.checkpoints.topic_offsets import TopicReader
from spark.java_names import remember_java_names
from spark.lake_target import lake_target
from spark.streaming.queries import StreamQuery, streaming_queries

log = structlog.get_logger("spark.streaming")

MOST_FAILURES = 20
PROGRESS_EVERY_S = 1.0
STOP_WAIT_S = 40.0
# A recreated topic that has grown beyond our offsets looks like the old one, but has another id.
TOPIC_IDS_EVERY_S = 30.0

_SPECS = {spec.name: spec for spec in QUERY_SPECS}


@dataclass(slots=True)
class RunningQuery:
    """A query, and its state while the application runs.

    Attributes:
        query: The query.
        handle: Spark's handle, once it was started.
        failures: How often it failed since its last finished batch.
        last_batch: Number of its last finished batch.
        retry_at: When to start it again, on the monotonic clock; 0 when no start is due.
        plan: Where it was started, and why.
        error: Why it does not run, in one line.
        has_seen_other_log: Whether the last check found another log behind its topic.
    """

    query: StreamQuery
    handle: StreamingQuery | None = None
    failures: int = 0
    last_batch: int = -1
    retry_at: float = field(default=0.0)
    plan: StartPlan | None = None
    error: str = ""
    has_seen_other_log: bool = False

    @property
    def is_active(self) -> bool:
        """Whether Spark runs the query."""
        return self.handle is not None and bool(self.handle.isActive)


class Application:
    """Starts the queries, watches them, stops them."""

    def __init__(self, spark: SparkSession, settings: Settings, stop: threading.Event) -> None:
        self._spark = spark
        self._settings = settings
        self._folder = stream_folder(settings)
        self._stop = stop
        self._topics = TopicReader(settings.kafka_bootstrap_servers)
        self._ids_checked_at = time.monotonic()
        self._running: list[RunningQuery] = []

    def run(self) -> None:
        """Run until asked to stop.

        Raises:
            TickhouseError: A query keeps failing.
        """
        queries = streaming_queries(self._settings, self._stop)
        self._running = [RunningQuery(query) for query in queries]
        for running in self._enabled():
            self._begin(running)
        log.info("streaming", queries=[running.query.name for running in self._enabled()])
        while not self._should_stop():
            self._check_topic_ids()
            for running in self._enabled():
                self._watch(running)
            self._write_progress()
            self._stop.wait(PROGRESS_EVERY_S)
        self._drain()

    def _enabled(self) -> list[RunningQuery]:
        """Return the queries to run; an optional store may be started while the driver runs."""
        return [running for running in self._running if _SPECS[running.query.name].is_enabled(self._settings)]

    def _begin(self, running: RunningQuery) -> None:
        """Repair the checkpoint of a query if necessary, then start the query.

        A failure is retried later.
        """
        try:
            running.plan = self._recover(running)
            running.handle, running.error = self._start(running.query, running.plan), ""
        except TransientError as error:
            self._note_failure(running, error.message)

    def _recover(self, running: RunningQuery) -> StartPlan:
        query = running.query
        spec = _SPECS[query.name]
        topic = self._topics.topics([query.topic])[query.topic]
        self._confirm_same_log(running, plan_of(self._folder, spec, topic, None).reason)
        table = query.name.removeprefix("lake_")
        read_bronze = bronze_offsets_reader(lake_target(self._settings, table), topic) if spec.is_lake else None
        plan = recover(self._folder, spec, topic, read_bronze)
        if plan.reason is not Reason.SOUND:
            _log_new_checkpoint(query.name, plan)
        return plan

    @staticmethod
    def _confirm_same_log(running: RunningQuery, reason: Reason) -> None:
        """Require two checks before a whole topic is read again.

        A broker that just started may not know the end of its log yet.

        Raises:
            ServiceNotReady: This was the first check.
        """
        is_other_log = reason in (Reason.TOPIC_RECREATED, Reason.LOG_TRUNCATED)
        is_first, running.has_seen_other_log = not running.has_seen_other_log, is_other_log
        if is_other_log and is_first:
            raise ServiceNotReady(
                f"The offsets of query {running.query.name} do not fit its topic ({reason}); it is checked once more."
            )

    def _check_topic_ids(self) -> None:
        """Restart each query whose topic was deleted and created again while it ran."""
        now = time.monotonic()
        if now - self._ids_checked_at < TOPIC_IDS_EVERY_S:
            return
        self._ids_checked_at = now
        try:
            ids = self._topics.ids({running.query.topic for running in self._running})
        except TransientError:
            return  # each query reports its own failure while Kafka is down
        for running in self._running:
            if running.plan is not None and running.plan.note.topic_id != ids[running.query.topic]:
                log.warning("topic_recreated", query=running.query.name, topic=running.query.topic)
                if running.handle is not None:
                    running.handle.stop()
                self._begin(running)

    def _start(self, query: StreamQuery, plan: StartPlan) -> StreamingQuery:
        # One fair scheduler pool per query; the thread that Spark starts for the query inherits it.
        self._spark.sparkContext.setLocalProperty("spark.scheduler.pool", query.name)
        source = (
            self._spark.readStream.format("kafka")
            .option("kafka.bootstrap.servers", self._settings.kafka_bootstrap_servers)
            .option("subscribe", query.topic)
            .option("startingOffsets", starting_offsets(query.topic, plan.note))
            .option("maxOffsetsPerTrigger", query.most_records)
            .option("failOnDataLoss", "true")
            .load()
        )
        writer = source.writeStream.queryName(query.name).foreachBatch(query.run)
        checkpoint = checkpoint_folder(self._folder, query.name)
        return writer.option("checkpointLocation", str(checkpoint)).trigger(processingTime=query.every).start()

    def _watch(self, running: RunningQuery) -> None:
        progress = running.handle.lastProgress if running.handle is not None else None
        if progress is not None and progress["batchId"] != running.last_batch:
            running.last_batch, running.failures = progress["batchId"], 0
        if running.is_active:
            return
        if running.plan is None and running.failures == 0:
            self._begin(running)  # its store was started meanwhile
        elif running.retry_at == 0.0:
            handle = running.handle
            self._note_failure(running, str(handle.exception()).strip() if handle is not None else "")
        elif time.monotonic() >= running.retry_at:
            running.retry_at = 0.0
            self._begin(running)

    def _note_failure(self, running: RunningQuery, cause: str) -> None:
        running.failures += 1
        running.error = cause.partition("\n")[0]
        if running.failures > MOST_FAILURES:
            raise TickhouseError(
                f"Query {running.query.name} failed {running.failures} times without a batch in between: "
                f"{running.error}.",
                safe="Its checkpoint is unchanged; the next run continues from it.",
                next_command="tickhouse stream status",
            )
        running.retry_at = time.monotonic() + min(2.0**running.failures, 30.0)
        log.warning("query_failed", query=running.query.name, failures=running.failures, cause=cause.splitlines()[:3])

    def _should_stop(self) -> bool:
        return self._stop.is_set() or (self._folder / "stop").exists()

    def _write_progress(self) -> None:
        report = {
            "pid": os.getpid(),
            "at_us": time.time_ns() // 1000,
            "queries": {running.query.name: progress_of(running) for running in self._enabled()},
        }
        target = self._folder / "progress.json"
        temporary = target.with_suffix(".new")
        temporary.write_text(json.dumps(report))
        temporary.replace(target)

    def _drain(self) -> None:
        """Stop each query between two batches; after `STOP_WAIT_S` also in the middle of one."""
        log.info("stopping")
        self._stop.set()
        deadline = time.monotonic() + STOP_WAIT_S
        for handle in (running.handle for running in self._running if running.handle is not None):
            while handle.isActive and handle.status["isTriggerActive"] and time.monotonic() < deadline:
                time.sleep(0.05)
            handle.stop()
        (self._folder / "stop").unlink(missing_ok=True)


def _log_new_checkpoint(query: str, plan: StartPlan) -> None:
    lost = [span._asdict() for span in plan.lost]
    if lost:
        write = log.error
    elif plan.reason is Reason.NEW:
        write = log.info
    else:
        write = log.warning
    write("checkpoint_begun", query=query, reason=plan.reason, detail=plan.detail, start=plan.start, lost=lost)


def progress_of(running: RunningQuery) -> dict[str, Any]:
    """Return what `tickhouse status` shows of a query.

    `next_offsets` is the next offset to read per partition.
    """
    handle = running.handle
    last = handle.lastProgress if handle is not None else None
    progress = json.loads(last.json) if last is not None else {}
    plan = running.plan
    sources = progress.get("sources") or [{}]
    return {
        "topic": running.query.topic,
        "is_active": running.is_active,
        "failures": running.failures,
        "error": running.error,
        "started": None if plan is None else {"reason": plan.reason, "detail": plan.detail, "start": plan.start},
        "batch_id": progress.get("batchId"),
        "records": progress.get("numInputRows", 0),
        "duration_ms": progress.get("durationMs", {}),
        "next_offsets": (sources[0].get("endOffset") or {}).get(running.query.topic),
    }


def main() -> int:
    """Run the application; return the exit code."""
    configure_logging("spark-stream")
    settings = load_settings()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        # The lease is taken before the session starts, because the driver to be replaced may still
        # use the UI's port. The variable keeps the lock: the JVM collects objects that Python no
        # longer refers to, which would release it.
        lease = Lease(stream_folder(settings), *jvm_lock(start_jvm()))
        lease.acquire()
        remember_java_names()
        spark = SparkSession.builder.appName("tickhouse-stream").getOrCreate()
        Application(spark, settings, stop).run()
        spark.stop()
    except TickhouseError as error:
        log.error("failed", exc_info=error)
        return error.exit_code
    return 0


def start_jvm() -> Any:
    """Start the driver's JVM without a Spark context; return py4j's view of it."""
    SparkContext._ensure_initialized()
    return SparkContext._jvm


if __name__ == "__main__":
    sys.exit(main())
