"""Bronze: decoded records as Parquet on the lake's `ingest` branch, through the S3 gateway.

Delivery guarantee. A file is named by topic, partition and offset range, so a batch that Spark hands over again
overwrites its own files. A batch's manifest is written last; what no manifest names is neither counted nor read, so a
commit (or a crash) in the middle of a batch never passes for whole. Bronze is as received: it may hold repeats.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import boto3
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame

from tickhouse.errors import StoreUnavailable

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
REPETITIVE = frozenset(("exchange", "market", "stream", "symbol", "side", "source"))


@dataclass(frozen=True, slots=True)
class LakeTarget:
    """Where bronze goes. Pickled into the tasks, so it holds plain values only.

    Attributes:
        table: trades or ticks.
        time_columns: Event time of a row: the first that is not null.
    """

    endpoint: str
    access_key_id: str
    secret_access_key: str
    repository: str
    branch: str
    table: str
    topic: str
    time_columns: tuple[str, ...]

    def client(self) -> Any:
        """Return the S3 client for the gateway, one a process (boto3's clients are thread-safe)."""
        return _client(self.endpoint, self.access_key_id, self.secret_access_key)

    def put(self, client: Any, path: str, body: bytes) -> None:
        """Write one object of the branch."""
        client.put_object(Bucket=self.repository, Key=f"{self.branch}/{path}", Body=body)

    def data_path(self, hour: int, partition: int, first: int, until: int) -> str:
        """Return the path of a file: hours since the epoch, Kafka partition, offsets [first, until)."""
        moment = pa.scalar(hour * _US_PER_HOUR, pa.timestamp("us", "UTC")).as_py()
        folder = f"bronze/{self.table}/date={moment:%Y-%m-%d}/hour={moment:%H}"
        return f"{folder}/{self.topic}-{partition}-{first}-{until}.parquet"

    def manifest_path(self, batch_id: int, ranges: Mapping[str, list[int]]) -> str:
        """Return the path of a batch's manifest."""
        digest = hashlib.sha256(json.dumps(ranges, sort_keys=True).encode()).hexdigest()[:12]
        return f"bronze/_manifests/{self.table}/{batch_id:012d}-{digest}.json"


@cache
def _client(endpoint: str, access_key_id: str, secret_access_key: str) -> Any:
    # Kept: the first one reads boto3's models for 0.1 CPU seconds, each connects anew.
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=access_key_id,
        aws_secret_access_key=secret_access_key,
        region_name="us-east-1",
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": "path"},
            connect_timeout=5,
            read_timeout=60,
            retries={"max_attempts": 2, "mode": "standard"},
            # The gateway keeps its own checksum; a second CRC over every body buys nothing on this hop.
            request_checksum_calculation="when_required",
        ),
    )


def hours_of(table: pa.Table, time_columns: tuple[str, ...]) -> pa.Array:
    """Return each row's event hour, in hours since the epoch (int64)."""
    times = pc.coalesce(*(table[column] for column in time_columns))
    return pc.divide(times.cast(pa.int64()), _US_PER_HOUR)


def write_files(target: LakeTarget) -> Callable[[Iterable[pa.RecordBatch]], Iterable[pa.RecordBatch]]:
    """Return the task body: rows of one slice in, one row a written file out.

    Input columns: `record` fields (null where a record did not decode), `kafka_partition`, `kafka_offset`, `is_good`.
    A slice with bad rows, or without good ones, reports its offsets with an empty path too.
    """

    def task(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        full = [batch for batch in batches if batch.num_rows]
        if not full:
            return
        rows, client = pa.Table.from_batches(full), target.client()
        for partition in pc.unique(rows["kafka_partition"]).to_pylist():
            slice_ = _where(rows, pc.equal(rows["kafka_partition"], partition))
            yield pa.RecordBatch.from_pylist(list(_write_slice(target, client, partition, slice_)), _FILE_ARROW)

    return task


def _write_slice(target: LakeTarget, client: Any, partition: int, rows: pa.Table) -> Iterator[dict[str, Any]]:
    bounds = pc.min_max(rows["kafka_offset"]).as_py()
    where = {"partition": partition, "first_offset": bounds["min"], "next_offset": bounds["max"] + 1}
    good = _where(rows, rows["is_good"]).drop_columns("is_good")
    hours = hours_of(good, target.time_columns)
    bad_rows = rows.num_rows - good.num_rows
    if bad_rows or not good.num_rows:
        yield {"path": "", "rows": 0, "bad_rows": bad_rows, "bytes": 0, **where}
    for hour in pc.unique(hours).to_pylist():
        part = _where(good, pc.equal(hours, hour)).sort_by("kafka_offset")
        body = to_parquet(part)
        path = target.data_path(hour, partition, where["first_offset"], where["next_offset"])
        target.put(client, path, body)
        yield {"path": path, "rows": part.num_rows, "bad_rows": 0, "bytes": len(body), **where}


def _where(rows: pa.Table, mask: pa.Array | pa.ChunkedArray) -> pa.Table:
    # Nearly always the mask is all true, and a filter would copy every column for nothing.
    return rows if pc.all(mask).as_py() else rows.filter(mask)


def to_parquet(rows: pa.Table) -> bytes:
    """Return rows as one Parquet file (zstd).

    Columns with a value of their own in each row (ids, frames) get no dictionary: it would be built, found too large
    and given up, which costs a third of the time and of the bytes.
    """
    buffer = io.BytesIO()
    dictionary = [name for name in rows.column_names if name in REPETITIVE]
    pq.write_table(rows, buffer, compression="zstd", compression_level=1, use_dictionary=dictionary)
    return buffer.getvalue()


def manifest(target: LakeTarget, batch_id: int, files: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the manifest of a batch: offset ranges, row count, files (sorted by path)."""
    ranges: dict[str, list[int]] = {}
    for entry in files:
        first, until = ranges.get(str(entry["partition"]), (entry["first_offset"], entry["next_offset"]))
        ranges[str(entry["partition"])] = [min(first, entry["first_offset"]), max(until, entry["next_offset"])]
    named = sorted((entry for entry in files if entry["path"]), key=lambda entry: str(entry["path"]))
    return {
        "v": 1,
        "topic": target.topic,
        "batch_id": batch_id,
        "ranges": dict(sorted(ranges.items())),
        "rows": sum(entry["rows"] for entry in named),
        "files": [{key: entry[key] for key in ("path", "rows", "bytes")} for entry in named],
    }


@dataclass(frozen=True, slots=True)
class Written:
    """What a batch held: rows that went to bronze, and rows that did not decode."""

    rows: int = 0
    bad_rows: int = 0


def write_batch(decoded: DataFrame, batch_id: int, target: LakeTarget) -> Written:
    """Write one micro-batch to bronze, then its manifest (none for an empty batch).

    Args:
        decoded: `spark.decode.decode` of the batch.
        batch_id: Spark's number of the batch.
        target: Where to.

    Raises:
        StoreUnavailable: The gateway does not answer; files without a manifest may be there, and count for nothing.
    """
    record = decoded.selectExpr("record.*", "partition", "offset", "reason IS NULL AS is_good")
    rows = record.withColumnsRenamed({"partition": "kafka_partition", "offset": "kafka_offset"})
    with _gateway_errors(target):
        client = target.client()
        # Asked here first: a task that fails is tried, logged and wrapped by Spark before we hear of it.
        client.head_bucket(Bucket=target.repository)
        files = rows.mapInArrow(write_files(target), FILE_SCHEMA).toArrow().to_pylist()
        if not files:
            return Written()
        document = manifest(target, batch_id, files)
        body = json.dumps(document, separators=(",", ":")).encode()
        target.put(client, target.manifest_path(batch_id, document["ranges"]), body)
    return Written(document["rows"], sum(entry["bad_rows"] for entry in files))


@contextmanager
def _gateway_errors(target: LakeTarget) -> Iterator[None]:
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise _unavailable(target, str(error)) from error
    except (PySparkException, Py4JJavaError) as error:
        # A task's failure comes back as the text of the Python error.
        lines = [line for line in str(error).splitlines() if line.startswith("botocore.exceptions")]
        if not lines:
            raise
        raise _unavailable(target, lines[-1]) from error


def _unavailable(target: LakeTarget, cause: str) -> StoreUnavailable:
    return StoreUnavailable(
        f"The lake's S3 gateway did not take the batch at {target.endpoint}: {cause}.",
        safe="The batch waits; its offsets are not committed.",
        next_command="tickhouse status",
    )
