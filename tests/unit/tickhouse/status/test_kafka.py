"""Consumer lag, and the offsets of the streaming queries."""

from __future__ import annotations

import json
from pathlib import Path

from tickhouse.status.kafka import lag_records, streaming_offsets

ENDS = {"crypto.trades": {0: 100, 1: 50}}
BEGINS = {"crypto.trades": {0: 10, 1: 0}}


def test_lag_is_what_was_not_read_yet() -> None:
    read = {"half": {"crypto.trades": {0: 90, 1: 50}}, "all": {"crypto.trades": {0: 100, 1: 50}}}

    assert lag_records(ENDS, BEGINS, read) == {"half": 10, "all": 0}


def test_a_consumer_that_read_nothing_lags_by_what_is_still_there() -> None:
    assert lag_records(ENDS, BEGINS, {"new": {"crypto.trades": {}}}) == {"new": 140}


def test_records_that_retention_removed_are_no_lag() -> None:
    assert lag_records(ENDS, BEGINS, {"old": {"crypto.trades": {0: 3, 1: 50}}}) == {"old": 90}


def test_a_topic_that_is_gone_is_not_counted() -> None:
    assert lag_records(ENDS, BEGINS, {"other": {"removed": {0: 1}}}) == {"other": 0}


def checkpoint(folder: Path, offsets: dict[int, dict[str, int]], committed: list[int]) -> None:
    for name in ("offsets", "commits"):
        (folder / name).mkdir(parents=True)
    for batch, partitions in offsets.items():
        lines = ["v1", json.dumps({"batchWatermarkMs": 0}), json.dumps({"crypto.trades": partitions})]
        (folder / "offsets" / str(batch)).write_text("\n".join(lines))
    for batch in committed:
        (folder / "commits" / str(batch)).write_text("v1\n{}")
        (folder / "commits" / f".{batch}.crc").touch()


def test_the_offsets_of_a_query_are_those_of_its_last_committed_batch(tmp_path: Path) -> None:
    offsets = {9: {"0": 5, "1": 6}, 10: {"0": 7, "1": 8}, 11: {"0": 70, "1": 80}}
    checkpoint(tmp_path / "candles", offsets, committed=[9, 10])
    checkpoint(tmp_path / "new", {0: {"0": 1}}, committed=[])

    assert streaming_offsets(tmp_path) == {"stream:candles": {"crypto.trades": {0: 7, 1: 8}}}


def test_no_checkpoint_is_no_query(tmp_path: Path) -> None:
    assert streaming_offsets(tmp_path / "missing") == {}
