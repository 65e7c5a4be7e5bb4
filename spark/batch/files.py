"""Read and write Parquet files of one lake ref with pyarrow in Spark's tasks.

The reasons are in docs/adr/0011-batch-files.md.

Delivery guarantee: a repeated job changes nothing. The path of a file depends only on its table and
partition, and its bytes only on its rows. So a job that runs again writes the same objects. Nothing
is renamed or copied.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow.fs import FileSelector, FileSystem, FileType, LocalFileSystem
from pyspark.sql import DataFrame, SparkSession

from common.clients.s3 import s3_filesystem
from common.errors import StoreUnavailable
from common.settings import Settings

# Columns with few different values; only these get a Parquet dictionary.
DICTIONARY_COLUMNS = frozenset(
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
# The texts among them are read as dictionaries: decoded once per value instead of once per row.
DICTIONARY_TEXTS = frozenset(("exchange", "market", "stream", "symbol", "side", "source", "base", "quote", "pair"))
# 128 Ki rows of silver are about 4 MB compressed. A reader of one symbol skips the other row groups
# by their statistics.
ROW_GROUP = 131_072
BATCH_ROWS = ROW_GROUP


@dataclass(frozen=True, slots=True)
class LakeFiles:
    """The objects of one lake ref. It is pickled into Spark's tasks, so it holds plain values only.

    Attributes:
        endpoint: Address of the S3 gateway; empty means that `root` is a local folder.
        access_key_id: Access key of the gateway.
        secret_access_key: The secret of that key.
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
        """Return the files of a local folder with the layout of the lake."""
        return cls("", "", "", str(folder))

    def filesystem(self) -> FileSystem:
        """Return the file system; one per process."""
        return _filesystem(self.endpoint, self.access_key_id, self.secret_access_key)

    def listing(self, folder: str) -> list[str]:
        """Return the sorted paths of all files below a folder; a missing folder has none.

        Raises:
            StoreUnavailable: The lake does not answer, or has no such ref.
        """
        selector = FileSelector(f"{self.root}/{folder}", recursive=True, allow_not_found=True)
        try:
            infos = self.filesystem().get_file_info(selector)
        except OSError as error:
            raise self._unavailable(error) from error
        return sorted(info.path[len(self.root) + 1 :] for info in infos if info.type == FileType.File)

    def children(self, folder: str) -> list[str]:
        """Return the names directly below a folder; those of folders end with a slash.

        A missing folder has none.

        Raises:
            StoreUnavailable: The lake does not answer, or has no such ref.
        """
        selector = FileSelector(f"{self.root}/{folder}", allow_not_found=True)
        try:
            infos = self.filesystem().get_file_info(selector)
        except OSError as error:
            raise self._unavailable(error) from error
        return sorted(f"{info.base_name}/" if info.type == FileType.Directory else info.base_name for info in infos)

    def read_bytes(self, path: str) -> bytes:
        """Return one object.

        Raises:
            StoreUnavailable: It cannot be read.
        """
        body = self.read_optional(path)
        if body is None:
            raise self._unavailable(FileNotFoundError(path))
        return body

    def read_optional(self, path: str) -> bytes | None:
        """Return one object; None when it does not exist.

        Raises:
            StoreUnavailable: It cannot be read.
        """
        try:
            with self.filesystem().open_input_stream(f"{self.root}/{path}") as stream:
                return bytes(stream.read())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unavailable(error) from error

    def put(self, path: str, body: bytes) -> None:
        """Write one object.

        Raises:
            StoreUnavailable: The lake does not accept it.
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
def _filesystem(endpoint: str, access_key_id: str, secret_access_key: str) -> FileSystem:
    if not endpoint:
        return LocalFileSystem()
    return s3_filesystem(endpoint, access_key_id, secret_access_key, connect_timeout_s=5, request_timeout_s=120)


def read(
    spark: SparkSession, files: LakeFiles, paths: Sequence[str], columns: Mapping[str, str], tasks: int
) -> DataFrame:
    """Return the rows of Parquet files as a DataFrame.

    Args:
        spark: The session.
        files: The lake ref.
        paths: Paths of the files in the ref.
        columns: Spark's type names by column, as in the files.
        tasks: The most tasks to read with; never more than there are files.
    """
    return map_files(spark, files, paths, columns=tuple(columns), step=(_without_dictionaries, columns), tasks=tasks)


BatchFunction = Callable[[pa.RecordBatch], pa.RecordBatch]


def map_files(
    spark: SparkSession,
    files: LakeFiles,
    paths: Sequence[str],
    *,
    columns: Sequence[str],
    step: tuple[BatchFunction, Mapping[str, str]],
    tasks: int,
) -> DataFrame:
    """Apply a function to each record batch of Parquet files, in the tasks that read them.

    Args:
        spark: The session.
        files: The lake ref.
        paths: Paths of the files in the ref.
        columns: Columns to read; those of `DICTIONARY_TEXTS` are dictionary-encoded.
        step: The function, and Spark's type names by column of its result.
        tasks: The most tasks to read with; never more than there are files.
    """
    count = max(1, min(tasks, len(paths)))
    slices = [list(paths[number::count]) for number in range(count)]
    function, types = step
    schema = ", ".join(f"{name} {kind}" for name, kind in types.items())
    return spark.range(0, count, 1, count).mapInArrow(_reading_task(files, slices, list(columns), function), schema)


Task = Callable[[Iterable[pa.RecordBatch]], Iterable[pa.RecordBatch]]


def _reading_task(files: LakeFiles, slices: list[list[str]], columns: list[str], function: BatchFunction) -> Task:
    encoded = [name for name in columns if name in DICTIONARY_TEXTS]

    def task(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        filesystem = files.filesystem()
        for number in (row for batch in batches for row in batch.column(0).to_pylist()):
            for path in slices[number]:
                with filesystem.open_input_file(f"{files.root}/{path}") as source:
                    parquet = pq.ParquetFile(source, pre_buffer=True, read_dictionary=encoded)
                    for rows in parquet.iter_batches(BATCH_ROWS, columns=columns):
                        yield function(rows.select(columns))

    return task


def _without_dictionaries(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Return rows without dictionary columns, which Spark's Arrow reader does not accept."""
    columns = [column.dictionary_decode() if pa.types.is_dictionary(column.type) else column for column in rows.columns]
    return pa.RecordBatch.from_arrays(columns, rows.schema.names)


WRITTEN = "path string, rows bigint, bytes bigint"
_WRITTEN_ARROW = pa.schema([("path", pa.string()), ("rows", pa.int64()), ("bytes", pa.int64())])


def write_hours(frame: DataFrame, files: LakeFiles, table: str, hour: str) -> list[dict[str, Any]]:
    """Write one file per hour; return path, rows and bytes of each, sorted by path.

    Args:
        frame: Rows sorted by `hour` within partitions; all rows of an hour are in one partition.
        files: The lake ref.
        table: Folder of the table, such as `silver/trades`.
        hour: The timestamp column that holds the hour.
    """
    written = frame.mapInArrow(hour_writer(files, table, hour), WRITTEN).toArrow()
    return sorted(written.to_pylist(), key=lambda file: str(file["path"]))


def hour_writer(files: LakeFiles, table: str, hour: str) -> Task:
    """Return the body of a Spark task: rows sorted by hour in, one row per written file out."""

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
    """A file that is being written.

    All row groups except the last are full, independent of the size of the batches. So the bytes of
    the file depend only on its rows.
    """

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
        if sum(batch.num_rows for batch in self._waiting) >= ROW_GROUP:
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
    """Return a schema with names and types only: nullable columns, no metadata."""
    return pa.schema([pa.field(field.name, field.type) for field in schema])


def parquet_options(schema: pa.Schema) -> dict[str, Any]:
    """Return the Parquet options of a table.

    Columns whose values are all different get no dictionary.
    """
    return {
        "compression": "zstd",
        "compression_level": 1,
        "use_dictionary": [name for name in schema.names if name in DICTIONARY_COLUMNS],
    }


def batch_parquet(table: pa.Table) -> bytes:
    """Return a small table of gold as one Parquet file; equal rows give equal bytes."""
    buffer = io.BytesIO()
    # Without these two steps, the bytes would also depend on where chunks end, and on which columns
    # Spark's plan declares nullable.
    table = table.combine_chunks().cast(plain_schema(table.schema))
    pq.write_table(table, buffer, row_group_size=ROW_GROUP, **parquet_options(table.schema))
    return buffer.getvalue()
