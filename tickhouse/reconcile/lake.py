"""Read bronze of a lake ref through its manifests: what no manifest names is neither counted nor read."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.fs import FileSelector, FileSystem, FileType, LocalFileSystem, S3FileSystem

from tickhouse.errors import StoreUnavailable
from tickhouse.reconcile.model import Trade
from tickhouse.reconcile.records import trade_of
from tickhouse.reconcile.trades import Row
from tickhouse.settings import Settings

_PARTITIONED = re.compile(r"/date=(\d{4}-\d{2}-\d{2})/hour=(\d{2})/")
_DECIMALS = {"price", "qty"}
_TIMES = {"trade_time"}
_TRADE_COLUMNS = [
    "event_id", "market", "symbol", "stream", "trade_id", "first_trade_id", "last_trade_id", "price", "qty", "side",
    "trade_time", "kafka_partition", "kafka_offset",
]  # fmt: skip
# A copy waits for the network: four at a time keep it busy, a mebibyte each in memory.
_COPIES, _COPY_BYTES = 4, 1 << 20
_HOUR_US = 3_600_000_000


class LakeFile(NamedTuple):
    """A file that a manifest names."""

    path: str
    rows: int
    manifest: str


@dataclass
class Bronze:
    """The manifests of one table on one ref; `manifests` are rows by path inside the ref."""

    files: list[LakeFile] = field(default_factory=list)
    rows: int = 0
    topic: str = ""
    manifests: dict[str, int] = field(default_factory=dict)


class Lake:
    """A reader of one ref of the lake.

    Args:
        filesystem: The S3 gateway (or any file system laid out like it).
        root: `<repository>/<ref>`.
    """

    def __init__(self, filesystem: FileSystem, root: str) -> None:
        self._files = filesystem
        self._root = root

    def bronze(self, table: str) -> Bronze:
        """Return the files of `trades` or `ticks` that manifests name.

        Raises:
            StoreUnavailable: The lake does not answer, has no such ref, or a manifest does not parse.
        """
        found = Bronze()
        for path in self._manifests(table):
            manifest = self._manifest(path)
            found.topic = manifest["topic"]
            found.rows += manifest["rows"]
            found.manifests[path[len(self._root) + 1 :]] = manifest["rows"]
            found.files += [LakeFile(one["path"], one["rows"], path) for one in manifest["files"]]
        return found

    def _manifests(self, table: str) -> list[str]:
        selector = FileSelector(f"{self._root}/bronze/_manifests/{table}", allow_not_found=True)
        try:
            infos = self._files.get_file_info(selector)
        except OSError as error:
            raise self._unavailable(str(error)) from error
        return sorted(info.path for info in infos if info.type == FileType.File and info.path.endswith(".json"))

    def _manifest(self, path: str) -> dict[str, Any]:
        try:
            with self._files.open_input_stream(path) as stream:
                manifest: dict[str, Any] = json.loads(stream.read())
            return {name: manifest[name] for name in ("topic", "rows", "files")}
        except (OSError, ValueError, KeyError) as error:
            raise self._unavailable(f"{path}: {error!r}") from error

    def files(self, folder: str) -> list[str]:
        """Return the paths of all Parquet files below a folder, sorted; none when there is no such folder.

        Raises:
            StoreUnavailable: The lake does not answer or has no such ref.
        """
        selector = FileSelector(f"{self._root}/{folder}", recursive=True, allow_not_found=True)
        try:
            infos = self._files.get_file_info(selector)
        except OSError as error:
            raise self._unavailable(str(error)) from error
        paths = (info.path[len(self._root) + 1 :] for info in infos if info.type == FileType.File)
        return sorted(path for path in paths if path.endswith(".parquet"))

    def table(self, path: str, columns: list[str] | None) -> pa.Table | None:
        """Return columns of one file (all: None), by its path inside the ref; None when there is no such file.

        Raises:
            StoreUnavailable: The file is there and cannot be read.
        """
        try:
            with self._files.open_input_file(f"{self._root}/{path}") as source:
                return pq.ParquetFile(source).read(columns)
        except FileNotFoundError:
            return None
        except (OSError, pa.ArrowInvalid) as error:
            raise self._unavailable(f"{path}: {error}") from error

    def rows(self, path: str) -> int | None:
        """Return the rows of one file by its footer; None when it is no whole Parquet file.

        Raises:
            StoreUnavailable: The lake does not answer.
        """
        try:
            with self._files.open_input_file(f"{self._root}/{path}") as source:
                return int(pq.ParquetFile(source).metadata.num_rows)
        except (FileNotFoundError, pa.ArrowInvalid):
            return None
        except OSError as error:
            raise self._unavailable(f"{path}: {error}") from error

    def fetch(self, paths: Sequence[str], folder: Path) -> list[str]:
        """Copy files of the ref to a folder and return where each is; files of a local lake stay where they are.

        Raises:
            StoreUnavailable: The lake does not answer, or has no such file.
        """
        if isinstance(self._files, LocalFileSystem):
            return [f"{self._root}/{path}" for path in paths]
        with ThreadPoolExecutor(_COPIES) as pool:
            return list(pool.map(lambda path: self._copy(path, folder), paths))

    def _copy(self, path: str, folder: Path) -> str:
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self._files.open_input_stream(f"{self._root}/{path}") as source, target.open("wb") as sink:
                shutil.copyfileobj(source, sink, _COPY_BYTES)
        except OSError as error:
            raise self._unavailable(f"{path}: {error}") from error
        return str(target)

    def _unavailable(self, why: str) -> StoreUnavailable:
        return StoreUnavailable(
            f"The lake at {self._root} cannot be read: {why}.",
            safe="The stores are untouched.",
            next_command="tickhouse status",
        )


def connect(settings: Settings, ref: str) -> Lake:
    """Return a reader of a ref through the S3 gateway of the settings."""
    endpoint = urlsplit(settings.lakefs_endpoint)
    gateway = S3FileSystem(
        access_key=settings.lakefs_access_key_id,
        secret_key=settings.lakefs_secret_access_key.get_secret_value(),
        endpoint_override=endpoint.netloc,
        scheme=endpoint.scheme,
        region="us-east-1",
        connect_timeout=5,
        request_timeout=60,
    )
    return Lake(gateway, f"{settings.lake_repository}/{ref}")


def trade_rows(lake: Lake, bronze: Bronze, problems: list[str]) -> Iterator[Row]:
    """Yield every row of the manifested files; files that are missing or of another length go to `problems`."""
    for named in bronze.files:
        table = lake.table(named.path, _TRADE_COLUMNS)
        _check_length(named, table, problems)
        if table is not None:
            yield from _rows(named.path, table, bronze.topic)


def _check_length(named: LakeFile, table: pa.Table | None, problems: list[str]) -> None:
    if table is None:
        problems.append(f"{named.path} is named by {named.manifest} and not there")
    elif table.num_rows != named.rows:
        problems.append(f"{named.path} holds {table.num_rows} rows, its manifest says {named.rows}")


def _rows(path: str, table: pa.Table, topic: str) -> Iterator[Row]:
    columns = {name: _plain_column(name, table.column(name)) for name in _TRADE_COLUMNS}
    hour = _PARTITIONED.search(f"/{path}")
    wanted_hour = f"{hour[1]}T{hour[2]}" if hour else ""
    for values in zip(*columns.values(), strict=True):
        fields = dict(zip(_TRADE_COLUMNS, values, strict=True))
        trade = trade_of(fields)
        yield Row(trade, (topic, fields["kafka_partition"], fields["kafka_offset"]), _fault(fields, trade, wanted_hour))


def _fault(fields: dict[str, Any], trade: Trade, hour: str) -> str:
    if fields["event_id"] != trade.event_id:
        return f"its event_id says {fields['event_id']}"
    own_hour = _hour(trade.time_us // _HOUR_US)
    return "" if own_hour == hour else f"it lies in hour {hour or 'of no partition'}, its trade time is in {own_hour}"


_HOURS: dict[int, str] = {}


def _hour(hours: int) -> str:
    if hours not in _HOURS:
        stamp = pa.scalar(hours * 3600, pa.timestamp("s")).as_py()
        _HOURS[hours] = stamp.strftime("%Y-%m-%dT%H")
    return _HOURS[hours]


def _plain_column(name: str, column: pa.ChunkedArray) -> list[Any]:
    """Return a column as Python values: decimals unscaled, times in microseconds."""
    if name in _DECIMALS:
        return unscaled(column.cast(pa.decimal128(28, 8)))
    if name in _TIMES:
        column = column.cast(pa.timestamp("us", "UTC")).cast(pa.int64())
    values: list[Any] = column.to_pylist()
    return values


def unscaled(column: pa.ChunkedArray) -> list[int]:
    """Return decimals in units of their last place, from Arrow's 16 little-endian bytes each: no Decimal is made."""
    numbers: list[int] = []
    for chunk in column.chunks:
        raw = chunk.buffers()[1].to_pybytes() if len(chunk) else b""
        first = chunk.offset
        numbers += [
            int.from_bytes(raw[at : at + 16], "little", signed=True)
            for at in range(first * 16, (first + len(chunk)) * 16, 16)
        ]
    return numbers


def tick_ids(lake: Lake, bronze: Bronze, problems: list[str]) -> Iterator[tuple[str, tuple[str, int, int]]]:
    """Yield (event id, place) of every tick in the manifested files."""
    for named in bronze.files:
        table = lake.table(named.path, ["event_id", "kafka_partition", "kafka_offset"])
        _check_length(named, table, problems)
        if table is not None:
            rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
            yield from ((event, (bronze.topic, partition, offset)) for event, partition, offset in rows)
