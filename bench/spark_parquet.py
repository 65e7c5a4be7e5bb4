"""Kafka to Parquet in the lake, against Kafka to decoded records only, in one Spark session."""

from __future__ import annotations

from bench.bench_stack import BenchStack
from bench.harness import Figures, at_least, compared, ratio_of, rounded, worker
from bench.market import synthetic_frames, write_frames
from bench.producer_cpu import produce

BOUND = at_least(0.6)
EVENTS, PAIRS, WARMUP = 300_000, 6, 2


def run(bench: BenchStack) -> Figures:
    """Measure records per CPU second of driver, JVM and Python workers together."""
    settings = bench.up("kafka", "registry", "lakefs")
    frames = bench.file("frames.txt")
    events = write_frames(frames, synthetic_frames(bench.sized(EVENTS, 30_000)))
    produce("ours", frames, settings)
    count, warmup = bench.sized(PAIRS, 2), bench.sized(WARMUP, 1)
    taken = worker("parquet", str(count), str(warmup))["pairs"]
    cpu = [(rounded(events / mine["cpu_s"]), rounded(events / floor["cpu_s"])) for mine, floor in taken]
    wall = [(events / mine["seconds"], events / floor["seconds"]) for mine, floor in taken]
    return compared(
        cpu,
        "records per CPU s",
        ratio_wall=rounded(ratio_of(wall)),
        ours_per_s=rounded(sorted(mine for mine, _ in wall)[len(wall) // 2]),
        how=f"{count} alternate pairs in one local[2] session after {warmup} of warm-up, {events} trades in 3 "
        "partitions; ours: the batch function of query lake_trades (decode, write_batch to the lakeFS stand-in's S3 "
        "gateway, manifest); floor: the same Kafka scan and decode into Spark's noop; CPU of the process tree (driver, "
        "JVM, Python workers), without broker and gateway",
    )
