"""CPU per event of candles, latest and lake while they catch up, against one loop for all three."""

from __future__ import annotations

import os

from bench.bench_stack import BenchStack
from bench.harness import Figures, at_most, compared, rounded, worker
from bench.market import synthetic_frames, write_frames
from bench.producer_cpu import produce

BOUND = at_most(9)
EVENTS, ROUNDS, WARMUP = 300_000, 6, 2
CORE = ("candles", "last", "lake_trades")


def run(bench: BenchStack) -> Figures:
    """Measure CPU µs per event of the driver, its JVM and its Python workers together."""
    settings = bench.up("kafka", "registry", "postgres", "redis", "lakefs")
    frames = bench.file("frames.txt")
    events = write_frames(frames, synthetic_frames(bench.sized(EVENTS, 30_000)))
    produce("ours", frames, settings)
    folder = bench.file("floor")
    folder.mkdir(exist_ok=True)
    rounds, warmup = bench.sized(ROUNDS, 2), bench.sized(WARMUP, 1)
    # A pause between the two would not make them fairer: CPU time is compared, not the clock.
    ours = worker("pipeline", ",".join((*CORE, "enriched")), str(rounds))
    os.environ["POLARS_MAX_THREADS"] = "1"
    floor = worker("pipeline_floor", str(folder), str(events), str(rounds))
    each = {name: [taken["cpu_s"] / events * 1e6 for taken in ours[name][warmup:]] for name in ours}
    core = [sum(of_round) for of_round in zip(*(each[name] for name in CORE), strict=True)]
    lowest = [taken["cpu_s"] / events * 1e6 for taken in floor[warmup:]]
    return compared(
        list(zip(core, lowest, strict=True)),
        "CPU µs per event",
        by_query={name: rounded(sorted(values)[len(values) // 2]) for name, values in each.items()},
        how=f"{events} trades of 24 symbols, {rounds - warmup} rounds after {warmup} of warm-up; ours: candles, "
        "last and lake_trades one after the other in one local[2] session with the driver's flags, each from an empty "
        "store and checkpoint; CPU of the process tree, without broker and stores; floor: one process that consumes, "
        "decodes by blocks of 50,000, sums with polars, upserts candles, replaces latest prices and writes Parquet; "
        "`by_query`: each query alone, with `enriched`",
    )
