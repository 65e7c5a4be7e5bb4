from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from spark.lake_target import LakeTarget, manifest_name
from spark.streaming import lake_sink
from spark.streaming.lake_sink import manifest, write_files

TARGET = LakeTarget("http://lake", "key", "secret", "lake", "ingest", "trades", "crypto.trades", ("trade_time",))


class Bucket:
    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def put_object(self, Bucket: str, Key: str, Body: bytes) -> None:
        self.objects[f"{Bucket}/{Key}"] = Body


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Bucket:
    fake = Bucket()
    monkeypatch.setattr(LakeTarget, "client", lambda _: fake)
    return fake


def slice_of(rows: list[tuple[int, int, datetime | None]]) -> pa.RecordBatch:
    """Return rows of (partition, offset, trade time); a row with time None did not decode."""
    return pa.RecordBatch.from_pylist(
        [
            {"event_id": f"e{o}", "trade_time": t, "kafka_partition": p, "kafka_offset": o, "is_good": t is not None}
            for p, o, t in rows
        ],
        pa.schema(
            [
                ("event_id", pa.string()),
                ("trade_time", pa.timestamp("us", "UTC")),
                ("kafka_partition", pa.int32()),
                ("kafka_offset", pa.int64()),
                ("is_good", pa.bool_()),
            ]
        ),
    )


def written(batches: list[pa.RecordBatch]) -> list[dict[str, Any]]:
    return [row for batch in write_files(TARGET)(iter(batches)) for row in batch.to_pylist()]


BEFORE, AFTER = datetime(2024, 8, 8, 23, 59, 59, 999_999, UTC), datetime(2024, 8, 9, tzinfo=UTC)


def test_files_are_named_by_event_hour_and_offsets(bucket: Bucket) -> None:
    files = written([slice_of([(2, 10, BEFORE), (2, 11, AFTER)]), slice_of([(2, 12, BEFORE)])])
    assert {(entry["path"], entry["rows"]) for entry in files} == {
        ("bronze/trades/date=2024-08-08/hour=23/crypto.trades-2-10-13.parquet", 2),
        ("bronze/trades/date=2024-08-09/hour=00/crypto.trades-2-10-13.parquet", 1),
    }
    body = bucket.objects["lake/ingest/bronze/trades/date=2024-08-08/hour=23/crypto.trades-2-10-13.parquet"]
    table = pq.read_table(io.BytesIO(body))
    assert table["kafka_offset"].to_pylist() == [10, 12]
    assert "is_good" not in table.column_names


def test_undecodable_records_are_covered_but_not_written(bucket: Bucket) -> None:
    files = written([slice_of([(0, 5, None), (0, 6, BEFORE), (0, 7, None)])])
    bad, good = files
    assert (bad["path"], bad["rows"], bad["bad_rows"]) == ("", 0, 2)
    assert (good["rows"], good["bad_rows"], good["first_offset"], good["next_offset"]) == (1, 0, 5, 8)
    only_bad = written([slice_of([(1, 3, None)])])
    assert [(entry["path"], entry["bad_rows"], entry["next_offset"]) for entry in only_bad] == [("", 1, 4)]
    assert len(bucket.objects) == 1


def test_an_empty_slice_writes_nothing(bucket: Bucket) -> None:
    assert written([slice_of([])]) == []
    assert bucket.objects == {}


def test_a_second_run_of_a_batch_overwrites_itself(bucket: Bucket) -> None:
    batch = [slice_of([(0, 5, BEFORE), (0, 6, AFTER)])]
    assert written(batch) == written(batch)
    assert len(bucket.objects) == 2


def test_manifest_names_every_file_and_offset() -> None:
    files = [
        {"path": "b", "rows": 2, "bytes": 20, "partition": 1, "first_offset": 7, "next_offset": 9},
        {"path": "a", "rows": 1, "bytes": 10, "partition": 1, "first_offset": 7, "next_offset": 9},
        {"path": "", "rows": 0, "bytes": 0, "partition": 0, "first_offset": 3, "next_offset": 4},
    ]
    document = manifest(TARGET, 12, files)
    assert document["ranges"] == {"0": [3, 4], "1": [7, 9]}
    assert document["rows"] == 3
    assert [entry["path"] for entry in document["files"]] == ["a", "b"]


def test_manifest_name_changes_with_the_ranges() -> None:
    first, other = manifest_name(1, {"0": [0, 5]}), manifest_name(1, {"0": [0, 6]})
    assert first.startswith("000000000001-")
    assert first != other


def test_ticks_without_event_time_go_by_receive_time() -> None:
    table = pa.table(
        {
            "event_time": pa.array([None, AFTER], pa.timestamp("us", "UTC")),
            "ingest_time": pa.array([BEFORE, BEFORE], pa.timestamp("us", "UTC")),
        }
    )
    hours = lake_sink.hours_of(table, replace(TARGET, time_columns=("event_time", "ingest_time")).time_columns)
    assert hours.to_pylist()[1] - hours.to_pylist()[0] == 1


def test_a_recreated_topic_never_overwrites_files_of_the_old_one(bucket: Bucket) -> None:
    files = written([slice_of([(0, 0, AFTER)])])
    again = replace(TARGET, topic_id="another", generation="ab12cd34")

    path = again.data_path(478_344, 0, 0, 1)
    document = manifest(again, 0, files)

    assert path.endswith("/crypto.trades.ab12cd34-0-0-1.parquet")
    assert (document["topic"], document["topic_id"], document["generation"]) == ("crypto.trades", "another", "ab12cd34")
    assert "generation" not in manifest(replace(TARGET, topic_id="first"), 0, files)
