"""Parquet of one lake ref into DataFrames and back, by pyarrow in Spark's tasks (docs/adr/0011-batch-files.md).

Delivery guarantee. A file's path is a function of its table and partition, its bytes of its rows, so a job that runs
again puts the same objects and the branch does not change. Nothing is renamed or copied.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow.fs import FileSelector, FileSystem, FileType, LocalFileSystem, S3FileSystem
from pyspark.sql import DataFrame, SparkSession

from tickhouse.errors import StoreUnavailable
from tickhouse.settings import Settings

REPETITIVE = frozenset(
    (
        "exchange",
        "market",
        "stream",
        "symbol",
        "side",
        "source",
        "base",
        "quote",
        "pair",
        "is_sentinel",
        "minute",
        "bucket",
    )
)
# Of these, the texts: decoded once a value instead of once a row.
TEXTS = frozenset(("exchange", "market", "stream", "symbol", "side", "source", "base", "quote", "pair"))
# 128 Ki rows of silver are about 4 MB compressed: a reader of one symbol skips the others by their statistics.
ROW_GROUP = 131_072
BATCH_ROWS = ROW_GROUP


@dataclass(frozen=True, slots=True)
class LakeFiles:
    """The objects of one ref. Pickled into tasks, so it holds plain values only.

    Attributes:
        endpoint: The S3 gateway; empty means that `root` is a local folder.
        root: `<repository>/<ref>`.
    """

    endpoint: str
    access_key_id: str
    secret_access_key: str
    root: str

    @classmethod
    def of(cls, settings: Settings, ref: str) -> LakeFiles:
        """Return the files of a ref of the lake."""
        secret = settings.lakefs_secret_access_key.get_secret_value()
        root = f"{settings.lake_repository}/{ref}"
        return cls(settings.lakefs_endpoint, settings.lakefs_access_key_id, secret, root)

    @classmethod
    def local(cls, folder: Path) -> LakeFiles:
        """Return the files below a folder laid out like the lake."""
        return cls("", "", "", str(folder))

    def filesystem(self) -> FileSystem:
        """Return the file system, one a process."""
        return _filesystem(self.endpoint, self.access_key_id, self.secret_access_key)

    def listing(self, folder: str) -> list[str]:
        """Return the paths of all files below a folder, sorted; none when there is no such folder.

        Raises:
            StoreUnavailable: The lake does not answer, or has no such ref.
        """
        selector = FileSelector(f"{self.root}/{folder}", recursive=True, allow_not_found=True)
        try:
            infos = self.filesystem().get_file_info(selector)
        except OSError as error:
            raise self._unavailable(error) from error
        return sorted(info.path[len(self.root) + 1 :] for info in infos if info.type == FileType.File)

    def read_bytes(self, path: str) -> bytes:
        """Return one object.

        Raises:
            StoreUnavailable: It cannot be read.
        """
        try:
            with self.filesystem().open_input_stream(f"{self.root}/{path}") as stream:
                return bytes(stream.read())
        except OSError as error:
            raise self._unavailable(error) from error

    def put(self, path: str, body: bytes) -> None:
        """Write one object.

        Raises:
            StoreUnavailable: The lake does not take it.
        """
        target = f"{self.root}/{path}"
        try:
            if not self.endpoint:
                Path(target).parent.mkdir(parents=True, exist_ok=True)
            with self.filesystem().open_output_stream(target) as stream:
                stream.write(body)
        except OSError as error:
            raise self._unavailable(error) from error

    def remove(self, path: str) -> None:
        """Remove one object.

        Raises:
            StoreUnavailable: The lake does not answer.
        """
        try:
            self.filesystem().delete_file(f"{self.root}/{path}")
        except OSError as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: OSError) -> StoreUnavailable:
        return StoreUnavailable(
            f"The lake at {self.root} did not answer: {error}.",
            safe="Nothing was committed; the job may run again.",
            next_command="tickhouse status",
        )


@cache
def _filesystem(endpoint: str, access_key: str, secret_key: str) -> FileSystem:
    if not endpoint:
        return LocalFileSystem()
    address = urlsplit(endpoint)
    return S3FileSystem(
        access_key=access_key,
        secret_key=secret_key,
        endpoint_override=address.netloc,
        scheme=address.scheme,
        region="us-east-1",
        connect_timeout=5,
        request_timeout=120,
    )


def read(
    spark: SparkSession, files: LakeFiles, paths: Sequence[str], columns: Mapping[str, str], tasks: int
) -> DataFrame:
    """Return the rows of Parquet files as a DataFrame, read by so many tasks.

    Args:
        spark: The session.
        files: Where they are.
        paths: Their paths in the ref.
        columns: Types by name, in Spark's words, as in the files.
        tasks: At most; never more than files.
    """
    return read_through(spark, files, paths, columns=tuple(columns), step=(_plain, columns), tasks=tasks)


Each = Callable[[pa.RecordBatch], pa.RecordBatch]


def read_through(
    spark: SparkSession,
    files: LakeFiles,
    paths: Sequence[str],
    *,
    columns: Sequence[str],
    step: tuple[Each, Mapping[str, str]],
    tasks: int,
) -> DataFrame:
    """Return what a function makes of each piece of Parquet files, in the tasks that read them.

    Args:
        spark: The session.
        files: Where they are.
        paths: Their paths in the ref.
        columns: Columns to read; those with few values come dictionary-encoded.
        step: The function, and the types of its columns in Spark's words.
        tasks: At most; never more than files.
    """
    count = max(1, min(tasks, len(paths)))
    slices = [list(paths[number::count]) for number in range(count)]
    each, made = step
    schema = ", ".join(f"{name} {kind}" for name, kind in made.items())
    return spark.range(0, count, 1, count).mapInArrow(_reading(files, slices, list(columns), each), schema)


Task = Callable[[Iterable[pa.RecordBatch]], Iterable[pa.RecordBatch]]


def _reading(files: LakeFiles, slices: list[list[str]], columns: list[str], each: Each) -> Task:
    coded = [name for name in columns if name in TEXTS]

    def task(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        filesystem = files.filesystem()
        for number in (row for batch in batches for row in batch.column(0).to_pylist()):
            for path in slices[number]:
                with filesystem.open_input_file(f"{files.root}/{path}") as source:
                    parquet = pq.ParquetFile(source, pre_buffer=True, read_dictionary=coded)
                    for rows in parquet.iter_batches(BATCH_ROWS, columns=columns):
                        yield each(rows.select(columns))

    return task


def _plain(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Return rows without dictionary columns, which Spark's Arrow reader does not take."""
    columns = [column.dictionary_decode() if pa.types.is_dictionary(column.type) else column for column in rows.columns]
    return pa.RecordBatch.from_arrays(columns, rows.schema.names)


WRITTEN = "path string, rows bigint, bytes bigint"
_WRITTEN_ARROW = pa.schema([("path", pa.string()), ("rows", pa.int64()), ("bytes", pa.int64())])


def write_hours(frame: DataFrame, files: LakeFiles, table: str, hour: str) -> list[dict[str, Any]]:
    """Write one file an hour and return (path, rows, bytes) of each, sorted.

    Args:
        frame: Sorted by `hour` within partitions, no hour in two of them.
        files: Where to.
        table: Folder, `silver/trades`.
        hour: The timestamp column that names the partition.
    """
    written = frame.mapInArrow(hour_writer(files, table, hour), WRITTEN).toArrow()
    return sorted(written.to_pylist(), key=lambda one: str(one["path"]))


def hour_writer(files: LakeFiles, table: str, hour: str) -> Task:
    """Return the task body: rows sorted by hour in, one row a written file out."""

    def task(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        current: _OpenFile | None = None
        for moment, rows in _by_hour(batches, hour):
            if current is None or current.moment != moment:
                if current is not None:
                    yield current.close()
                current = _OpenFile(files, f"{table}/{hour_path(moment)}", moment, rows.schema)
            current.add(rows)
        if current is not None:
            yield current.close()

    return task


def hour_path(moment: Any) -> str:
    """Return the partition path and name of an hour's file: date=…/hour=…/part-0.parquet."""
    return f"date={moment:%Y-%m-%d}/hour={moment:%H}/part-0.parquet"


def _by_hour(batches: Iterable[pa.RecordBatch], hour: str) -> Iterator[tuple[Any, pa.RecordBatch]]:
    for batch in batches:
        runs = pc.run_end_encode(batch.column(hour))
        start = 0
        for end, moment in zip(runs.run_ends.to_pylist(), runs.values.to_pylist(), strict=True):
            yield moment, batch.slice(start, end - start)
            start = end


class _OpenFile:
    """One file on its way: whole row groups go to the store as they fill, whatever the batches were."""

    def __init__(self, files: LakeFiles, path: str, moment: Any, schema: pa.Schema) -> None:
        self.moment = moment
        self._path = path
        self._rows = 0
        self._waiting: list[pa.RecordBatch] = []
        target = f"{files.root}/{path}"
        if not files.endpoint:
            Path(target).parent.mkdir(parents=True, exist_ok=True)
        self._stream = files.filesystem().open_output_stream(target)
        self._schema = plain_schema(schema)
        self._writer = pq.ParquetWriter(self._stream, self._schema, **parquet_options(schema))

    def add(self, rows: pa.RecordBatch) -> None:
        self._waiting.append(pa.RecordBatch.from_arrays(rows.columns, schema=self._schema))
        self._rows += rows.num_rows
        if sum(one.num_rows for one in self._waiting) >= ROW_GROUP:
            self._flush(keep_rest=True)

    def _flush(self, *, keep_rest: bool) -> None:
        table = pa.Table.from_batches(self._waiting, self._schema)
        whole = len(table) // ROW_GROUP * ROW_GROUP if keep_rest else len(table)
        if whole:
            self._writer.write_table(table.slice(0, whole).combine_chunks(), ROW_GROUP)
        self._waiting = table.slice(whole).to_batches()

    def close(self) -> pa.RecordBatch:
        if self._waiting:
            self._flush(keep_rest=False)
        self._writer.close()
        size = self._stream.tell()
        self._stream.close()
        return pa.RecordBatch.from_pylist([{"path": self._path, "rows": self._rows, "bytes": size}], _WRITTEN_ARROW)


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """Return names and types alone: every column may hold nulls, nothing has metadata."""
    return pa.schema([pa.field(field.name, field.type) for field in schema])


def parquet_options(schema: pa.Schema) -> dict[str, Any]:
    """Return how a table is written; columns with a value of their own in each row get no dictionary."""
    return {
        "compression": "zstd",
        "compression_level": 1,
        "use_dictionary": [name for name in schema.names if name in REPETITIVE],
    }


def to_parquet(table: pa.Table) -> bytes:
    """Return a small table as one Parquet file."""
    buffer = io.BytesIO()
    # Pages end where chunks end, and what Spark knows of nulls depends on the plan: both are accidents of the run.
    table = table.combine_chunks().cast(plain_schema(table.schema))
    pq.write_table(table, buffer, row_group_size=ROW_GROUP, **parquet_options(table.schema))
    return buffer.getvalue()
