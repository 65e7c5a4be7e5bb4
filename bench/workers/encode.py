"""Encode frames to Avro bytes with the producer's intake; nothing is sent.

python -m bench.workers.encode FRAMES PASSES
"""

from __future__ import annotations

import gc
import json
import sys
import time
from pathlib import Path

from bench.harness import ProcessMeter
from bench.market import read_frames
from producer.encoding.events import Encoder
from producer.ledger.gaps import GapBook
from producer.live import CHUNK
from producer.parsing.decimals import CACHE
from producer.parsing.frames import identify, parse_frame
from producer.writer.intake import Intake, Origin

# Less than the time between two frames, so that no ticker is sampled out.
SAMPLE_US = 1


class DiscardingOutbox:
    """Counts records and keeps none."""

    def __init__(self) -> None:
        self.records = self.bytes = 0

    def produce(self, topic: str, value: bytes, key: bytes) -> None:
        self.records += 1
        self.bytes += len(value)

    def send(self, topic: str, value: bytes, key: bytes, headers: object = None) -> None:
        self.produce(topic, value, key)

    def send_dead_letter(self, raw: bytes, headers: object, key: object = None) -> None:
        raise AssertionError(f"Expected no dead letter, was {raw!r}: {headers} {key}")

    def poll(self, timeout_s: float = 0.0) -> None:
        """Do nothing."""

    def flush(self, timeout_s: float = 0.0) -> None:
        """Do nothing."""


ORIGIN = Origin("WEBSOCKET", parse_frame, identify, lambda _: "bench")


def main(path: str, passes: str) -> None:
    """Encode every frame of a file several times, each time with an empty ledger."""
    # Each frame has its own receive time, because spot book tickers have no event time.
    lines = [(frame, 1_723_161_240_000_000 + number, 0) for number, frame in enumerate(read_frames(Path(path)))]
    outbox = DiscardingOutbox()
    gc.collect()
    gc.freeze()
    meter = ProcessMeter()
    for _ in range(int(passes)):
        CACHE.clear()
        intake = Intake(
            Encoder("spot", trade_schema_id=1, tick_schema_id=2), outbox, "live",  # type: ignore[arg-type]
            gaps=GapBook(), sample_us=SAMPLE_US, clock=lambda: time.time_ns() // 1000, prepare=lambda _: None,
        )  # fmt: skip
        for start in range(0, len(lines), CHUNK):
            intake.feed(lines[start : start + CHUNK], ORIGIN)
    print(json.dumps({"taken": outbox.records, "bytes": outbox.bytes, **meter.taken()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
