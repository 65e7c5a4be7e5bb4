"""The bytes of a file depend only on its rows, not on batches or plans."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.errors import StoreUnavailable
from spark.batch import files
from spark.batch.files import LakeFiles, batch_parquet

HOURS = [datetime(2024, 8, 8, hour, tzinfo=UTC) for hour in range(3)]
SCHEMA = pa.schema([("bucket", pa.timestamp("us", "UTC")), ("symbol", pa.string()), ("trade_id", pa.int64())])


def rows_of(counts: list[int]) -> pa.Table:
    rows = [
        {"bucket": hour, "symbol": f"S{number % 3}", "trade_id": number}
        for hour, count in zip(HOURS, counts, strict=False)
        for number in range(count)
    ]
    return pa.Table.from_pylist(rows, SCHEMA)


def written(folder: Path, batches: list[pa.RecordBatch]) -> dict[str, bytes]:
    target = LakeFiles.local(folder)
    list(files.hour_writer(target, "silver/trades", "bucket")(batches))
    return {path: (folder / path).read_bytes() for path in target.listing("silver/trades")}


def batches_of(table: pa.Table, size: int, *, is_nullable: bool) -> list[pa.RecordBatch]:
    schema = pa.schema([pa.field(field.name, field.type, nullable=is_nullable) for field in table.schema])
    return table.cast(schema).to_batches(size)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 40), min_size=1, max_size=3), st.integers(1, 50), st.integers(1, 50))
def test_bytes_do_not_depend_on_the_batches(
    tmp_path_factory: pytest.TempPathFactory, counts: list[int], size: int, other: int
) -> None:
    table = rows_of(counts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "ROW_GROUP", 16)
        first = written(tmp_path_factory.mktemp("a"), batches_of(table, size, is_nullable=True))
        second = written(tmp_path_factory.mktemp("b"), batches_of(table, other, is_nullable=False))

    assert first == second
    assert len(first) == sum(count > 0 for count in counts)
    for path, body in first.items():
        parquet = pq.ParquetFile(pa.BufferReader(body))
        hour = int(path.split("hour=")[1][:2])
        assert parquet.read()["trade_id"].to_pylist() == list(range(counts[hour]))
        assert parquet.metadata.num_row_groups == -(-counts[hour] // 16)


def test_bytes_of_small_tables_depend_only_on_their_rows() -> None:
    table = rows_of([5, 4])
    assert batch_parquet(table) == batch_parquet(pa.concat_tables([table.slice(0, 3), table.slice(3)]))


def test_a_lake_that_is_away_is_unavailable(tmp_path: Path) -> None:
    away = LakeFiles("http://127.0.0.1:9", "key", "secret", "lake/main")
    with pytest.raises(StoreUnavailable, match="did not answer"):
        away.listing("gold")
    with pytest.raises(StoreUnavailable, match="did not answer"):
        LakeFiles.local(tmp_path).read_bytes("gold/none.parquet")
