"""Write decoded records to bronze: Parquet files on the lake's branch `ingest`.

Delivery guarantee: at least once. Each step may run again, and the steps always run in this order:

1. The data files. Their names contain topic, partition and offset range, so a batch that Spark
   repeats overwrites its own files.
2. The pointers: one in the folder of each event day except the newest. Readers ignore a pointer
   without its manifest.
3. The manifest, which names all files of the batch. Files that no manifest names are neither
   counted nor read. A commit or a kill -9 in the middle of a batch therefore never publishes half
   of it, no matter how many days the batch spans.

Bronze is stored as received and may hold a record twice. When a checkpoint was lost, the batches
that come again have other offset ranges, so two manifests cover the same offsets.
common/clients/lake_manifests.py describes how readers count such a record once.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from botocore.exceptions import BotoCoreError, ClientError
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame

from common.clients.lake_manifest_paths import Placement, pointer_body
from spark.lake_target import LakeTarget, gateway_unavailable

FILE_SCHEMA = "path string, rows long, bad_rows long, bytes long, partition int, first_offset long, next_offset long"
_FILE_ARROW = pa.schema(
    [
        ("path", pa.string()),
        ("rows", pa.int64()),
        ("bad_rows", pa.int64()),
        ("bytes", pa.int64()),
        ("partition", pa.int32()),
        ("first_offset", pa.int64()),
        ("next_offset", pa.int64()),
    ]
)
_US_PER_HOUR = 3_600_000_000
# Columns with few different values; only these get a Parquet dictionary.
DICTIONARY_COLUMNS = frozenset(("exchange", "market", "stream", "symbol", "side", "source"))


def hours_of(table: pa.Table, time_columns: tuple[str, ...]) -> pa.Array:
    """Return the event hour of each row, in hours since 1970 (int64)."""
    times = pc.coalesce(*(table[column] for column in time_columns))
    return pc.divide(times.cast(pa.int64()), _US_PER_HOUR)


Task = Callable[[Iterable[pa.RecordBatch]], Iterable[pa.RecordBatch]]


def write_files(target: LakeTarget) -> Task:
    """Return the body of a Spark task that writes its rows and returns one row per written file.

    Its input columns are the fields of the record (null where it did not decode),
    `kafka_partition`, `kafka_offset` and `is_good`. For a partition with undecodable rows, or
    without any good row, it also returns a row with an empty path, which reports the offsets.
    """

    def task(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        non_empty = [batch for batch in batches if batch.num_rows]
        if non_empty:
            yield from write_rows(target, pa.Table.from_batches(non_empty))

    return task


def write_rows(target: LakeTarget, rows: pa.Table) -> Iterator[pa.RecordBatch]:
    """Write the rows of a task, and yield one row per written file as `write_files` does."""
    client = target.client()
    for partition in pc.unique(rows["kafka_partition"]).to_pylist():
        of_partition = _where(rows, pc.equal(rows["kafka_partition"], partition))
        written = list(_write_partition(target, client, partition, of_partition))
        yield pa.RecordBatch.from_pylist(written, _FILE_ARROW)


def _write_partition(target: LakeTarget, client: Any, partition: int, rows: pa.Table) -> Iterator[dict[str, Any]]:
    bounds = pc.min_max(rows["kafka_offset"]).as_py()
    offsets = {"partition": partition, "first_offset": bounds["min"], "next_offset": bounds["max"] + 1}
    good = _where(rows, rows["is_good"]).drop_columns("is_good")
    hours = hours_of(good, target.time_columns)
    bad_rows = rows.num_rows - good.num_rows
    if bad_rows or not good.num_rows:
        yield {"path": "", "rows": 0, "bad_rows": bad_rows, "bytes": 0, **offsets}
    for hour, part in _by_hour(good, hours):
        body = bronze_parquet(part)
        path = target.data_path(hour, partition, offsets["first_offset"], offsets["next_offset"])
        target.put(client, path, body)
        yield {"path": path, "rows": part.num_rows, "bad_rows": 0, "bytes": len(body), **offsets}


def _by_hour(rows: pa.Table, hours: pa.Array | pa.ChunkedArray) -> Iterator[tuple[int, pa.Table]]:
    """Yield each hour and its rows, sorted by offset.

    The rows are sorted once, because a replay of years has thousands of hours in one batch.
    """
    order = pc.sort_indices(
        pa.table({"hour": hours, "offset": rows["kafka_offset"]}),
        sort_keys=[("hour", "ascending"), ("offset", "ascending")],
    )
    counts = pc.value_counts(hours.take(order)).to_pylist()
    start, sorted_rows = 0, rows.take(order)
    for count in counts:
        yield count["values"], sorted_rows.slice(start, count["counts"])
        start += count["counts"]


def _where(rows: pa.Table, mask: pa.Array | pa.ChunkedArray) -> pa.Table:
    # The mask is nearly always true for every row; a filter would then copy all columns needlessly.
    return rows if pc.all(mask).as_py() else rows.filter(mask)


def bronze_parquet(rows: pa.Table) -> bytes:
    """Return rows as one Parquet file of bronze (zstd).

    Columns whose values are all different (ids, frames) get no dictionary: the writer would build
    one and drop it as too large, which costs a third of the time and of the bytes.
    """
    buffer = io.BytesIO()
    dictionary = [name for name in rows.column_names if name in DICTIONARY_COLUMNS]
    pq.write_table(rows, buffer, compression="zstd", compression_level=1, use_dictionary=dictionary)
    return buffer.getvalue()


def manifest(target: LakeTarget, batch_id: int, files: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the manifest of a batch: offset ranges, number of rows, files sorted by path."""
    ranges: dict[str, list[int]] = {}
    for entry in files:
        first, until = ranges.get(str(entry["partition"]), (entry["first_offset"], entry["next_offset"]))
        ranges[str(entry["partition"])] = [min(first, entry["first_offset"]), max(until, entry["next_offset"])]
    named = sorted((entry for entry in files if entry["path"]), key=lambda entry: str(entry["path"]))
    return {
        "v": 1,
        "topic": target.topic,
        **({"topic_id": target.topic_id} if target.topic_id else {}),
        **({"generation": target.generation} if target.generation else {}),
        "batch_id": batch_id,
        "ranges": dict(sorted(ranges.items())),
        "rows": sum(entry["rows"] for entry in named),
        "files": [{key: entry[key] for key in ("path", "rows", "bytes")} for entry in named],
    }


@dataclass(frozen=True, slots=True)
class BatchCounts:
    """Counts of one batch: rows written to bronze, and rows that did not decode."""

    rows: int = 0
    bad_rows: int = 0


def good_or_null(decoded: DataFrame) -> DataFrame:
    """Return a batch decoded by `spark.streaming.decode.decode` as `write_files` takes it."""
    record = decoded.selectExpr("record.*", "partition", "offset", "reason IS NULL AS is_good")
    return record.withColumnsRenamed({"partition": "kafka_partition", "offset": "kafka_offset"})


def write_batch(rows: DataFrame, task: Task, batch_id: int, target: LakeTarget) -> BatchCounts:
    """Write one micro-batch to bronze, then its manifest; an empty batch has no manifest.

    Args:
        rows: What the task reads.
        task: `write_files`, or `lake_trades.write_trades`.
        batch_id: Spark's number of the batch.
        target: The bronze table.

    Raises:
        StoreUnavailable: The gateway does not answer. Files without a manifest may exist; readers
            ignore them.
    """
    with _gateway_errors(target):
        client = target.client()
        # Fail here when the gateway is down. Spark would first retry the task, log its error and
        # wrap it.
        client.head_bucket(Bucket=target.repository)
        files = rows.mapInArrow(task, FILE_SCHEMA).toArrow().to_pylist()
        if not files:
            return BatchCounts()
        document = manifest(target, batch_id, files)
        put_manifest(target, client, batch_id, document)
    return BatchCounts(document["rows"], sum(entry["bad_rows"] for entry in files))


def put_manifest(target: LakeTarget, client: Any, batch_id: int, document: Mapping[str, Any]) -> Placement:
    """Write the pointers of a batch, then its manifest; return their paths."""
    places = target.placement(batch_id, document)
    for pointer in places.pointers:
        target.put(client, pointer, pointer_body(places.manifest))
    target.put(client, places.manifest, json.dumps(document, separators=(",", ":")).encode())
    return places


@contextmanager
def _gateway_errors(target: LakeTarget) -> Iterator[None]:
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise gateway_unavailable(target, str(error)) from error
    except (PySparkException, Py4JJavaError) as error:
        # Spark reports the failure of a task as the text of its Python traceback.
        lines = [line for line in str(error).splitlines() if line.startswith("botocore.exceptions")]
        if not lines:
            raise
        raise gateway_unavailable(target, lines[-1]) from error
