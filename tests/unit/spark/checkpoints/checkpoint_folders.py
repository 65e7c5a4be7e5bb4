"""Checkpoint folders as Spark 4.1 writes them for one Kafka topic of two partitions."""

from __future__ import annotations

import json
from pathlib import Path

from spark.checkpoints.start_offsets import TopicState

TOPIC = "crypto.trades"
TOPIC_ID = "7Yw8dVhQTmuF0lQqgGQ3xw"
_META = {"batchWatermarkMs": 0, "batchTimestampMs": 1_795_979_597_726, "conf": {"spark.sql.shuffle.partitions": "2"}}


def offsets_text(offsets: dict[int, int]) -> str:
    return "\n".join(("v1", json.dumps(_META), json.dumps({TOPIC: {str(part): at for part, at in offsets.items()}})))


def make(folder: Path, batches: int, *, committed: int | None = None, size: int = 10, first: int = 0) -> Path:
    """Write a whole checkpoint.

    Batch n ends at offset (n + 1) * size of partition 0, and at half of that of partition 1.

    Args:
        folder: Where to.
        batches: Planned batches.
        committed: How many of them are done; all by default.
        size: Records of partition 0 per batch.
        first: The oldest batch whose files are kept.
    """
    for name in ("offsets", "commits", "sources/0"):
        (folder / name).mkdir(parents=True)
    (folder / "metadata").write_text('{"id":"f6e4de4c-3e1f-4a24-bb35-8f763fc957e0"}')
    (folder / "sources" / "0" / "0").write_bytes(b"\x00v1\n" + json.dumps({TOPIC: {"0": 0, "1": 0}}).encode())
    for batch in range(first, batches):
        (folder / "offsets" / str(batch)).write_text(offsets_text(at(batch, size)))
    for batch in range(first, batches if committed is None else committed):
        (folder / "commits" / str(batch)).write_text('v1\n{"nextBatchWatermarkMs":0}')
    return folder


def at(batch: int, size: int = 10) -> dict[int, int]:
    """Return the next offsets after a batch."""
    return {0: (batch + 1) * size, 1: (batch + 1) * size // 2}


def topic(*bounds: tuple[int, int], topic_id: str = TOPIC_ID) -> TopicState:
    """Return the state of the topic, given [first kept, next) per partition."""
    return TopicState(TOPIC, topic_id, dict(enumerate(bounds)))
