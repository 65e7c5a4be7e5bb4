"""Events per second into Kafka from frames, against Kafka's own load generator."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from bench.bench_stack import BenchStack, renew_topic
from bench.harness import BenchmarkFailed, Figures, alternate, at_least, compared, rounded
from bench.market import synthetic_frames, write_frames
from bench.producer_cpu import produce
from common.settings import REPO, Settings
from common.topics import TRADES
from schemas import topics

BOUND = at_least(0.3)
EVENTS, PAIRS = 200_000, 5
# The tool's JVM must be warm when its measurement begins, or the floor would be too low.
PERF_RECORDS, PERF_WARMUP = 1_000_000, 300_000
TOPIC = "bench.perf"
TOOL = "org.apache.kafka.tools.ProducerPerformance"
_SENT = re.compile(r"^(\d+) records sent, ([\d.]+) records/sec.*max latency", re.MULTILINE)


def run(bench: BenchStack) -> Figures:
    """Measure events/s from the first record to the last acknowledgement, wall clock."""
    settings = bench.up("kafka", "registry")
    frames = bench.file("frames.txt")
    events = write_frames(frames, synthetic_frames(bench.sized(EVENTS, 20_000)))
    produce("ours", frames, settings)
    size = record_bytes(settings)
    count = bench.sized(PAIRS, 2)
    records, warmup = bench.sized(PERF_RECORDS, 100_000), bench.sized(PERF_WARMUP, 20_000)
    pairs = alternate(
        count,
        lambda: rounded(events / produce("ours", frames, settings)["seconds"]),
        lambda: rounded(perf_tool(settings, size, records, warmup)),
        name="producer_vs_perf_tool",
    )
    return compared(
        pairs,
        "events/s",
        record_bytes=size,
        how=f"{count} alternate pairs; ours: {events} frames from memory to acknowledged (process of producer_cpu); "
        f"floor: {TOOL.rpartition('.')[2]}, {records} records of {size} bytes after {warmup} of warm-up; both "
        "acks=all, idempotence, lz4, linger 10 ms, 3 partitions; wall clock",
    )


def record_bytes(settings: Settings) -> int:
    """Return the mean size of the records in crypto.trades, keys included."""
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer({"bootstrap.servers": settings.kafka_bootstrap_servers, "group.id": "bench"})
    try:
        consumer.assign([TopicPartition(TRADES, part, 0) for part in range(topics()[TRADES].partitions)])
        sizes = [
            len(message.value() or b"") + len(message.key() or b"") for message in consumer.consume(5_000, timeout=20.0)
        ]
    finally:
        consumer.close()
    if not sizes:
        raise BenchmarkFailed("Expected records in crypto.trades, was none.")
    return sum(sizes) // len(sizes)


def perf_tool(settings: Settings, size: int, records: int, warmup: int) -> float:
    """Return the records/s that Kafka's tool reports after its warm-up.

    Raises:
        BenchmarkFailed: The tool failed, or its output is unknown.
    """
    renew_topic(settings, TOPIC, topics()[TRADES].partitions, topics()[TRADES].config)
    properties = [
        f"bootstrap.servers={settings.kafka_bootstrap_servers}", "acks=all", "enable.idempotence=true",
        "compression.type=lz4", "linger.ms=10",
    ]  # fmt: skip
    command = [
        *java_command(), TOOL, "--topic", TOPIC, "--num-records", str(records + warmup), "--record-size", str(size),
        "--throughput", "-1", "--warmup-records", str(warmup), "--command-property", *properties,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    reports = _SENT.findall(done.stdout)
    if done.returncode != 0 or not reports:
        raise BenchmarkFailed(f"{TOOL} ended with {done.returncode}: {(done.stdout + done.stderr)[-2000:]}")
    return float(reports[-1][1])  # the last line is the steady state, without the warm-up


def java_command() -> list[str]:
    """Return the command that runs a class on the broker's classpath with Kafka's heap size."""
    from stack.engine.fetch import jar_dir, java_program

    jars: Path = jar_dir(REPO / "stack" / "kafka" / "pom.xml")
    return [str(java_program()), "-Xmx512M", "-XX:+UseG1GC", "-cp", f"{jars}/*"]
