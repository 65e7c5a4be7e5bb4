"""CPU per event from frame to Kafka, against the shortest loop that writes the same records."""

from __future__ import annotations

from pathlib import Path

from bench.bench_stack import BenchStack, empty_topics, expect_records
from bench.harness import Figures, alternate, at_most, compared, ratio_of, rounded, worker
from bench.market import synthetic_frames, write_frames
from common.settings import Settings
from common.topics import TRADES

BOUND = at_most(1.35)
EVENTS, PAIRS = 200_000, 5


def run(bench: BenchStack) -> Figures:
    """Measure CPU µs per event of whole new processes, librdkafka's threads included."""
    settings = bench.up("kafka", "registry")
    frames = bench.file("frames.txt")
    events = write_frames(frames, synthetic_frames(bench.sized(EVENTS, 20_000)))
    produce("ours", frames, settings)  # warm-up of the broker and the file cache
    count = bench.sized(PAIRS, 2)
    pairs = alternate(
        count, lambda: cpu_us("ours", frames, settings), lambda: cpu_us("floor", frames, settings), name="producer_cpu"
    )
    scaled = cpu_us("floor_scaled", frames, settings)
    return compared(
        pairs,
        "CPU µs per event",
        ratio_to_floor_with_decimals_given=rounded(ratio_of([(mine, scaled) for mine, _ in pairs])),
        how=f"{count} alternate pairs of fresh processes, {events} aggTrade frames each of 24 symbols from memory to "
        "acknowledged; ours: Intake.feed in chunks as `producer live`, ledger snapshots included; floor: msgspec typed "
        "decode, decimals scaled by hand, fastavro schemaless_writer, confluent_kafka with the same configuration; "
        "CPU of the process with all threads; median of the pairs' ratios",
    )


def produce(side: str, frames: Path, settings: Settings) -> dict[str, float]:
    """Send the frames into empty topics; return events, seconds, CPU seconds."""
    empty_topics(settings)
    taken: dict[str, float] = worker("produce", side, str(frames))
    expect_records(settings, TRADES, int(taken["events"]))
    return taken


def cpu_us(side: str, frames: Path, settings: Settings) -> float:
    """Return the CPU µs per event of one side."""
    taken = produce(side, frames, settings)
    return rounded(taken["cpu_s"] / taken["events"] * 1e6)
