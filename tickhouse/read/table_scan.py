"""Read or query rows of a table of one commit, from the files of the wanted days alone.

Arrow reads the files, several at a time: the footer of each, then only the bytes of the wanted
columns, of the row groups whose statistics match. A query gets the rows batch by batch and never
holds all of them; DuckDB tells Arrow which columns and rows it needs
(docs/adr/0028-read-with-duckdb.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Final, NamedTuple

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from common.errors import ConfigurationError, StoreUnavailable
from common.symbols import upper_latin
from tickhouse.known_names import require_pair
from tickhouse.read.lake_at_commit import LakeAtCommit
from tickhouse.read.lake_rows import LakeRows
from tickhouse.read.lake_tables import LakeTable, TimeSpan, runs_of

_TIME: Final = pa.timestamp("us", "UTC")


@dataclass(frozen=True, slots=True)
class SymbolFilter:
    """One symbol of a market; Latin letters of the symbol may be in any case."""

    market: str
    symbol: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which rows and columns of a table to read.

    Attributes:
        table: The table.
        span: Times of the rows.
        of: The symbol; all when None.
        columns: Columns in order; all when empty.
        skip_missing_days: Whether days that the commit does not have are no error.
        include_sentinels: Whether to return records with a price or quantity of zero.
    """

    table: LakeTable
    span: TimeSpan
    of: SymbolFilter | None = None
    columns: tuple[str, ...] = ()
    skip_missing_days: bool = False
    include_sentinels: bool = False


def days_of(lake: LakeAtCommit, table: LakeTable) -> list[date]:
    """Return the days of a table, sorted; of a table by month, the first of each month.

    Raises:
        StoreUnavailable: The lake does not answer.
    """
    return [table.day_of(value) for value in _partitions(lake, table)]


def read_rows(lake: LakeAtCommit, wanted: Wanted) -> LakeRows:
    """Return the wanted rows of a commit, sorted by time, then by id.

    Raises:
        ConfigurationError: The commit does not have all wanted days, the symbol or a column.
        StoreUnavailable: The lake does not answer, or a file cannot be read.
    """
    files = _wanted_files(lake, wanted)
    with _read_errors(lake):
        rows = _sorted_rows(_dataset(lake, files.paths), wanted)
    if not len(rows) and wanted.of is not None:
        _check_symbol(lake, files.of_days, wanted.of)
    return _lake_rows(lake, wanted, files, rows)


def query_rows(lake: LakeAtCommit, wanted: Wanted, sql: str) -> LakeRows:
    """Return the result of a query in which the wanted rows are the table `rows`.

    Raises:
        ConfigurationError: The commit does not have all wanted days, or DuckDB refuses the query.
        StoreUnavailable: The lake does not answer, or a file cannot be read.
    """
    files = _wanted_files(lake, wanted)
    with _read_errors(lake), duckdb.connect(config={"enable_external_access": "false"}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("rows", _dataset(lake, files.paths).filter(_condition(wanted)))
        return _lake_rows(lake, wanted, files, _result(connection, sql))


def _result(connection: duckdb.DuckDBPyConnection, sql: str) -> pa.Table:
    try:
        result = connection.sql(sql)
    except duckdb.Error as error:
        raise ConfigurationError(f"DuckDB refuses the query: {error}.") from error
    if result is None:
        raise ConfigurationError(f"Expected a query that returns rows, was {sql!r}.")
    try:
        return result.to_arrow_table()
    except duckdb.DataError as error:  # such as a text that is no number
        raise ConfigurationError(f"DuckDB refuses the query: {error}.") from error


class _WantedFiles(NamedTuple):
    """The files to read, all files of the wanted days, and the partitions that are missing."""

    paths: list[str]
    of_days: list[str]
    missing: list[str]


def _wanted_files(lake: LakeAtCommit, wanted: Wanted) -> _WantedFiles:
    present, missing = _wanted_partitions(lake, wanted)
    of_days = [path for value in present for path in lake.files.parquet_files(wanted.table.path_of(value))]
    # When no hour is wanted, one file still gives the columns.
    paths = [path for path in of_days if wanted.span.may_be_in(path)] or of_days[:1]
    return _WantedFiles(paths, of_days, missing)


def _lake_rows(lake: LakeAtCommit, wanted: Wanted, files: _WantedFiles, rows: pa.Table) -> LakeRows:
    return LakeRows(wanted.table.folder, lake.commit_id, rows, tuple(files.paths), tuple(files.missing), lake.banner)


def _partitions(lake: LakeAtCommit, table: LakeTable) -> list[str]:
    prefix = f"{table.partition}="
    names = lake.files.children(table.folder)
    return sorted(name.removeprefix(prefix).rstrip("/") for name in names if name.startswith(prefix))


def _wanted_partitions(lake: LakeAtCommit, wanted: Wanted) -> tuple[list[str], list[str]]:
    """Return the wanted partitions that the commit has, and those that it does not have."""
    table = wanted.table
    have = _partitions(lake, table)
    asked = list(dict.fromkeys(table.partition_of(day) for day in wanted.span.days))
    missing = sorted(set(asked) - set(have))
    present = [value for value in asked if value not in set(missing)]
    if missing and not (wanted.skip_missing_days and present):
        extent = f"It has {len(have)}, from {have[0]} to {have[-1]}." if have else "It has none."
        kind = "months" if table.partition == "month" else "days"
        raise ConfigurationError(
            f"{table.folder} at commit {lake.commit_id[:12]} does not have these {kind}: {runs_of(missing, asked)}. "
            f"{extent}",
            next_command="tickhouse lake log main",
        )
    return present, missing


@contextmanager
def _read_errors(lake: LakeAtCommit) -> Iterator[None]:
    """Raise errors of a read as ours.

    Raises:
        StoreUnavailable: The lake does not answer, or a file cannot be read.
    """
    try:
        yield
    except (duckdb.Error, pa.ArrowInvalid, OSError) as error:
        raise StoreUnavailable(
            f"The lake at commit {lake.commit_id[:12]} cannot be read: {error}.",
            safe="Nothing was changed.",
            next_command="tickhouse status",
        ) from error


def _dataset(lake: LakeAtCommit, paths: Sequence[str]) -> ds.Dataset:
    addresses = [f"{lake.root}/{path}" for path in paths]
    return ds.dataset(addresses, filesystem=lake.filesystem, format="parquet", partitioning=None)


def _sorted_rows(files: ds.Dataset, wanted: Wanted) -> pa.Table:
    """Return the wanted rows of files, sorted; other columns than these are not read."""
    names = files.schema.names
    if unknown := [name for name in wanted.columns if name not in names]:
        raise ConfigurationError(f"Expected a column of {', '.join(names)}, was {unknown[0]!r}.")
    chosen, order = list(wanted.columns) or names, wanted.table.order
    rows = files.to_table([*dict.fromkeys([*chosen, *order])], filter=_condition(wanted))
    return rows.sort_by([(name, "ascending") for name in order]).select(chosen)


def _condition(wanted: Wanted) -> pc.Expression:
    time = pc.field(wanted.table.time)
    condition = (time >= pa.scalar(wanted.span.start, _TIME)) & (time < pa.scalar(wanted.span.end, _TIME))
    if wanted.of is not None:
        condition &= pc.field("market") == wanted.of.market
        condition &= pc.field("symbol") == upper_latin(wanted.of.symbol)
    if wanted.table.folder == "silver/trades" and not wanted.include_sentinels:
        condition &= ~pc.field("is_sentinel")
    return condition


def _check_symbol(lake: LakeAtCommit, paths: Sequence[str], wanted: SymbolFilter) -> None:
    """Require that a symbol without rows in the range has rows on one of its days.

    Raises:
        ConfigurationError: It has none; the message names the nearest symbols of its market, or the
            markets that have it.
        StoreUnavailable: The lake does not answer, or a file cannot be read.
    """
    with _read_errors(lake):
        pairs = _dataset(lake, paths).to_table(["market", "symbol"]).group_by(["market", "symbol"]).aggregate([])
    known = [(row["market"], row["symbol"]) for row in pairs.to_pylist()]
    command = "tickhouse lake query candles_1d --columns market,symbol"
    require_pair(wanted.market, wanted.symbol, known, where=" on these days", command=command)
