"""Read a table of the lake as of a commit, tag or branch: Parquet files through the S3 gateway.

A reference is resolved to its commit first, so all rows are of one commit, and uncommitted files
are not read. Of bronze, only files that a manifest names are read, and a Kafka record that is in
two files gives one row. The partition folders (`date`, `hour`, `month`) are columns.
"""

from __future__ import annotations

import operator as operators
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import chain
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from lakefs import Reference

from common.clients.lake_gateway import lake_filesystem
from common.clients.lake_manifest_paths import MANIFESTS, day_of_folder, is_manifest
from common.clients.lake_manifests import Say, overlapping, read_manifests, report_problems
from common.clients.lake_objects import RefObjects
from common.clients.lakefs import lake_errors, repository
from common.days import Days
from common.errors import ConfigurationError, StoreUnavailable
from common.settings import Settings

LAYERS = ("gold", "silver", "bronze")
OPERATORS = {
    "!=": pc.not_equal,
    "<=": pc.less_equal,
    ">=": pc.greater_equal,
    "=": pc.equal,
    "<": pc.less,
    ">": pc.greater,
}
# Folder names are compared as text; ISO dates sort correctly that way.
_TEXT_OPERATORS: dict[str, Callable[[str, str], bool]] = {
    "!=": operators.ne,
    "<=": operators.le,
    ">=": operators.ge,
    "=": operators.eq,
    "<": operators.lt,
    ">": operators.gt,
}
_CONDITION = re.compile(r"\s*(\w+)\s*(!=|<=|>=|=|<|>)\s*(.*?)\s*")
# Text, because Arrow has no type for a month.
_PARTITIONING = ds.partitioning(
    pa.schema([("date", pa.string()), ("hour", pa.string()), ("month", pa.string())]), flavor="hive"
)


@dataclass(frozen=True, slots=True)
class TableQuery:
    """Which rows and columns of a table to read.

    Attributes:
        table: `gold/candles_1m`, or `candles_1m` alone, which is searched in gold, silver, bronze.
        conditions: `column OP value` with OP one of = != < <= > >=; a row must meet all of them.
        columns: Columns to return; all when empty.
        limit: Most rows to return.
    """

    table: str
    conditions: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    limit: int = 20


@dataclass(frozen=True, slots=True)
class QueryResult:
    """The rows, and the commit and table that they come from."""

    commit_id: str
    table: str
    rows: pa.Table

    def document(self) -> dict[str, Any]:
        """Return plain values for JSON; decimals keep all their digits."""
        return {"commit": self.commit_id, "table": self.table, "rows": self.rows.to_pylist()}


def dataset(settings: Settings, commit_id: str, paths: Sequence[str]) -> ds.Dataset:
    """Return Parquet files of one commit as a dataset; the partition folders are columns."""
    root = f"{settings.lake_repository}/{commit_id}"
    return ds.dataset(
        [f"{root}/{path}" for path in paths],
        filesystem=lake_filesystem(settings),
        format="parquet",
        partitioning=_PARTITIONING,
        partition_base_dir=root,
    )


def query(settings: Settings, ref: str, wanted: TableQuery, say: Say = lambda line: None) -> QueryResult:
    """Read rows of a table as of a reference.

    Of a table with one folder per day, only the days that meet the conditions on `date` are listed.
    Of bronze, the manifests are read day by day until there are enough rows.

    Args:
        settings: Addresses.
        ref: Branch, tag or commit.
        wanted: Table, conditions, columns and limit.
        say: Receives one line per object below `_manifests` that is not a valid manifest.

    Raises:
        ConfigurationError: No such reference, table or column, or a condition does not parse.
        StoreUnavailable: The lake does not answer, or a file cannot be read.
    """
    with lake_errors(settings):
        lake = repository(settings)
        at = lake.ref(str(lake.ref(ref).get_commit().id))
        table, parts = find(at, wanted, say)
        try:
            rows = _read_parts(lambda paths: dataset(settings, at.id, paths), parts, wanted)
        except OSError as error:
            raise StoreUnavailable(
                f"{table} at {ref} cannot be read: {error}.", next_command="tickhouse status"
            ) from error
    return QueryResult(at.id, table, rows)


# Opens some Parquet files as one dataset.
OpenDataset = Callable[[Sequence[str]], ds.Dataset]


def _read_parts(open_dataset: OpenDataset, parts: Iterator[list[str]], wanted: TableQuery) -> pa.Table:
    """Return the rows of the parts, each a list of files, until there are enough."""
    tables: list[pa.Table] = []
    left = wanted.limit
    for paths in parts:
        tables.append(_read(open_dataset, paths, replace(wanted, limit=left)))
        left -= len(tables[-1])
        if left <= 0:
            break
    return pa.concat_tables(tables)


def _read(open_dataset: OpenDataset, paths: Sequence[str], wanted: TableQuery) -> pa.Table:
    files = open_dataset(paths)
    names = files.schema.names
    columns = [*wanted.columns] or [name for name in names if not _is_unused(files, name)]
    if unknown := sorted(set(columns) - set(names)):
        raise ConfigurationError(f"Expected one of the columns {', '.join(names)}, was {unknown[0]!r}.")
    rows_wanted = condition(files.schema, wanted.conditions)
    repeated = overlapping(paths)
    if not repeated:
        return files.head(wanted.limit, columns=columns, filter=rows_wanted)
    rest = [path for path in paths if path not in repeated]
    tables = [without_repeats(open_dataset(sorted(repeated)).to_table(filter=rows_wanted)).select(columns)]
    if rest:
        tables.append(open_dataset(rest).head(wanted.limit, columns=columns, filter=rows_wanted))
    return pa.concat_tables(tables).slice(0, wanted.limit)


def without_repeats(rows: pa.Table) -> pa.Table:
    """Return one bronze row per Kafka record, identified by partition, offset and event id."""
    numbered = rows.append_column("row", pa.array(range(len(rows)), pa.int64()))
    first = numbered.group_by(["kafka_partition", "kafka_offset", "event_id"]).aggregate([("row", "min")])
    return rows.take(first["row_min"].sort())


def _is_unused(files: ds.Dataset, name: str) -> bool:
    """Return whether a partition column has no folder in this table's paths."""
    return name in _PARTITIONING.schema.names and f"/{name}=" not in next(iter(files.files), "")


def find(at: Reference, wanted: TableQuery, say: Say) -> tuple[str, Iterator[list[str]]]:
    """Return a table's full name and its files at a reference, in parts.

    Raises:
        ConfigurationError: The reference has no such table, or no day meets the conditions.
        ServerException: lakeFS refuses or fails.
    """
    table = wanted.table
    names = [table.strip("/")] if "/" in table else [f"{layer}/{table}" for layer in LAYERS]
    for name in names:
        list_parts = _bronze_parts if name.startswith("bronze/") else _parts
        parts = list_parts(RefObjects(at), name, wanted.conditions, say)
        if first := next(parts, None):
            return name, chain([first], parts)
    raise ConfigurationError(
        f"{at.id[:12]} has no table {table!r}, or none of its days meets the conditions.",
        next_command="tickhouse lake query --help",
    )


def _parts(objects: RefObjects, table: str, conditions: Sequence[str], _: Say) -> Iterator[list[str]]:
    """Yield the files of a table of silver or gold, one list per folder."""
    # Spark and Arrow both take names that begin with _ or . for metadata.
    names = [name for name in objects.children(table) if not name.startswith(("_", "."))]
    # When no folder meets the conditions, one of them still gives the columns.
    for name in [name for name in names if may_hold(name, conditions)] or names[:1]:
        paths = objects.listing(f"{table}/{name[:-1]}") if name.endswith("/") else [f"{table}/{name}"]
        if files := [path for path in paths if path.endswith(".parquet") and not _is_hidden(path)]:
            yield files


def _bronze_parts(objects: RefObjects, table: str, conditions: Sequence[str], say: Say) -> Iterator[list[str]]:
    """Yield the files that manifests of bronze name, one list per day.

    If an older version wrote manifests into one flat folder, all files are in one list.
    """
    name = table.removeprefix("bronze/")
    has_flat = any(is_manifest(f"{MANIFESTS}/{name}/{child}") for child in objects.children(f"{MANIFESTS}/{name}"))
    days = _bronze_days(objects, name)
    wanted = [day for day in days if may_hold(f"date={day}/", conditions)] or days[:1]
    for day in [None] if has_flat else [Days(day, day) for day in wanted]:
        manifests = read_manifests(objects, name, day)
        report_problems(manifests.problems, say)
        if paths := [file.path for file in manifests.files(day) if day or file.date in wanted]:
            yield paths


def _bronze_days(objects: RefObjects, table: str) -> list[date]:
    """Return the days of a table by its folders of files; a wide batch has no manifest per day."""
    days = map(day_of_folder, objects.children(f"bronze/{table}"))
    return sorted(day for day in days if day is not None)


def may_hold(folder: str, conditions: Sequence[str]) -> bool:
    """Return whether a folder such as `date=2024-08-08/` may hold wanted rows (pure)."""
    column, is_partition, value = folder.rstrip("/").partition("=")
    parsed = [match.groups() for text in conditions if (match := _CONDITION.fullmatch(text))]
    wanted = [(operator, limit.strip("'\"")) for name, operator, limit in parsed if name == column]
    return not is_partition or all(_TEXT_OPERATORS[operator](value, limit) for operator, limit in wanted)


def _is_hidden(path: str) -> bool:
    return any(part.startswith(("_", ".")) for part in path.split("/"))


def condition(schema: pa.Schema, texts: Iterable[str]) -> pc.Expression | None:
    """Return `column OP value` texts as one filter; None when there are none (pure).

    Raises:
        ConfigurationError: A text does not parse, the column does not exist, or the value is not
            of its type.
    """
    combined: pc.Expression | None = None
    for text in texts:
        parsed = _parse_condition(schema, text)
        combined = parsed if combined is None else combined & parsed
    return combined


def _parse_condition(schema: pa.Schema, text: str) -> pc.Expression:
    parsed = _CONDITION.fullmatch(text)
    if parsed is None:
        raise ConfigurationError(f"Expected a condition such as 'symbol=BTCUSDT', was {text!r}.")
    column, operator, value = parsed.groups()
    if column not in schema.names:
        raise ConfigurationError(f"Expected one of the columns {', '.join(schema.names)}, was {column!r}.")
    kind = schema.field(column).type
    try:
        literal = pa.scalar(value.strip("'\"")).cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ConfigurationError(f"Expected a {kind} for {column}, was {value!r}: {error}") from error
    compared: pc.Expression = OPERATORS[operator](pc.field(column), literal)
    return compared
