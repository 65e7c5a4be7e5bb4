from __future__ import annotations

import json

from common.clients.lake_manifests import Manifest
from tickhouse.lake.ingest_commit import message_of, metadata_of, summarise


def manifest(path: str, topic: str, rows: int, ranges: dict[str, tuple[int, int]]) -> dict[str, Manifest]:
    return {path: Manifest(path, topic, ranges, rows, ())}


TRADES = {
    **manifest("bronze/_manifests/trades/1.json", "crypto.trades", 5, {"0": (0, 3), "1": (7, 9)}),
    **manifest("bronze/_manifests/trades/2.json", "crypto.trades", 2, {"0": (3, 5)}),
}
TICKS = manifest("bronze/_manifests/ticks/1.json", "crypto.ticks", 4, {"2": (0, 4)})


def test_ranges_of_several_batches_are_covered_by_topic_and_partition() -> None:
    summary = summarise({**TRADES, **TICKS})
    assert summary.rows == {"crypto.trades": 7, "crypto.ticks": 4}
    assert summary.kafka_offsets == {"crypto.trades": {"0": [0, 5], "1": [7, 9]}, "crypto.ticks": {"2": [0, 4]}}
    assert summary.manifests == sorted([*TRADES, *TICKS])


def test_metadata_is_text_that_reads_back() -> None:
    summary = summarise(TRADES)
    metadata = metadata_of(summary)
    assert all(isinstance(value, str) for value in metadata.values())
    assert json.loads(metadata["kafka_offsets"]) == summary.kafka_offsets
    assert json.loads(metadata["manifests"]) == summary.manifests
    assert message_of(summary) == "Ingest 7 rows of crypto.trades in 2 batches"
