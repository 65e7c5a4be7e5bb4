"""The tables of one lake ref as DuckDB views, for the laws.

A table that is not there is an empty view, a column that is not there is null: the laws say what is missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import duckdb
import yaml

from tickhouse.days import ONE_DAY, Days, day_of
from tickhouse.reconcile.lake import Bronze, Lake, LakeFile
from tickhouse.settings import REPO

EXPECTATIONS = REPO / "expectations"
# Folders that are columns; `month` is a column of no law.
PARTITIONS = {"date": "DATE", "hour": "INTEGER"}


@dataclass(frozen=True, slots=True)
class CommitRows:
    """Rows of one topic: by the metadata of all commits, and by the manifests that they name."""

    topic: str
    rows_in_commits: int
    rows_in_manifests: int
    missing_manifests: int


def wanted_tables(folder: Path = EXPECTATIONS) -> dict[str, Any]:
    """Return `tables.yaml`: folder and columns by table."""
    document: dict[str, Any] = yaml.safe_load((folder / "tables.yaml").read_text())
    return document


class Relations:
    """A DuckDB connection with a view a table.

    Args:
        lake: The ref.
        days: The days to audit.
        scratch: Folder for copies of the files.
    """

    def __init__(self, lake: Lake, days: Days, scratch: Path) -> None:
        self._lake = lake
        self._scratch = scratch
        self._days = days
        self._tables = wanted_tables()
        self._columns: list[tuple[str, str, str, str]] = []
        self.connection = duckdb.connect(config={"threads": 2})
        self.connection.execute("SET TimeZone = 'UTC'")

    def open(self, bronze: Bronze, commits: Iterable[CommitRows]) -> None:
        """Make all views.

        Args:
            bronze: The manifests of trades.
            commits: Rows by the metadata of commits.

        Raises:
            StoreUnavailable: The lake does not answer.
        """
        named = [one for one in bronze.files if day_of(one.path) in self._days]
        found = self._rows_found(named)
        self._view("bronze", [one.path for one in named if found.get(one.path) is not None])
        lengths = [(one.path, one.rows, found.get(one.path)) for one in named]
        self._rows("named_files", "path VARCHAR, rows BIGINT, rows_found BIGINT", lengths)
        for table in self._tables:
            if table not in ("bronze", "monthly"):
                self._view(table, self._of_days(table, self._days))
        self._more_views()
        self._summarise()
        kinds = '"table" VARCHAR, "column" VARCHAR, type_wanted VARCHAR, type_found VARCHAR'
        self._rows("columns_found", kinds, self._columns)
        kinds = "topic VARCHAR, rows_in_commits BIGINT, rows_in_manifests BIGINT, missing_manifests BIGINT"
        self._rows("commits", kinds, map(astuple, commits))

    def _more_views(self) -> None:
        """Make views of what the days are held against: the day before, and the months they lie in."""
        day_before = Days(self._days.first - ONE_DAY, self._days.first - ONE_DAY)
        self._view("silver", self._of_days("silver", day_before), "silver_before")
        months = tuple(f"{month:%Y-%m}" for month in self._days.months())
        for table, name in (("candles_1d", "month_days"), ("volatility", "month_volatility")):
            paths = self._lake.files(self._tables[table]["folder"])
            self._view(table, [path for path in paths if str(day_of(path)).startswith(months)], name)
        paths = self._lake.files(self._tables["monthly"]["folder"])
        self._view("monthly", [path for path in paths if path.split("month=")[-1].startswith(months)])

    def _summarise(self) -> None:
        """Scan the large tables once each, for all laws."""
        for path in sorted((EXPECTATIONS / "summaries").glob("*.sql")):
            self.connection.execute(f"CREATE TABLE {path.stem} AS {path.read_text()}")

    def _of_days(self, table: str, days: Days) -> list[str]:
        folder = self._tables[table]["folder"]
        return [path for day in days for path in self._lake.files(f"{folder}/date={day}")]

    def _rows_found(self, named: Sequence[LakeFile]) -> dict[str, int | None]:
        there = {path for day in self._days for path in self._lake.files(f"bronze/trades/date={day}")}
        return {one.path: self._lake.rows(one.path) if one.path in there else None for one in named}

    def _view(self, table: str, paths: Sequence[str], name: str = "") -> None:
        """Make the view of a table from files, with the columns and types that it should have."""
        columns: Mapping[str, str] = self._tables[table]["columns"]
        source = self._source(paths) if paths else ""
        # Names come from tables.yaml, paths from the lake's listing.
        describe = f"DESCRIBE SELECT * FROM {source}"  # noqa: S608
        described = self.connection.execute(describe).fetchall() if source else []
        found = {row[0]: row[1] for row in described if row[0] != "month"}
        if source and not name:
            self._note(table, columns, found)
        shown = ", ".join(
            f"TRY_CAST({_quoted(column) if column in found else 'NULL'} AS {kind}) AS {_quoted(column)}"
            for column, kind in {**PARTITIONS, **columns}.items()
        )
        text = f"SELECT {shown}" + (f" FROM {source}" if source else " WHERE false")  # noqa: S608
        self.connection.execute(f"CREATE VIEW {name or table} AS {text}")

    def _source(self, paths: Sequence[str]) -> str:
        # Files are copied first: DuckDB's own reader takes a third of the CPU that an Arrow dataset over S3 does.
        local = ", ".join(f"'{path}'" for path in self._lake.fetch(paths, self._scratch))
        kinds = ", ".join(f"'{name}': {kind}" for name, kind in PARTITIONS.items() if f"/{name}=" in paths[0])
        types = f", hive_types = {{{kinds}}}" if kinds else ""
        return f"read_parquet([{local}], hive_partitioning = true{types})"

    def _note(self, table: str, wanted: Mapping[str, str], found: Mapping[str, str]) -> None:
        kinds = {column: kind for column, kind in found.items() if column not in PARTITIONS}
        self._columns += [
            (table, column, wanted.get(column, "none"), kinds.get(column, "none"))
            for column in dict.fromkeys([*wanted, *kinds])
        ]

    def _rows(self, table: str, columns: str, rows: Iterable[tuple[Any, ...]]) -> None:
        self.connection.execute(f"CREATE TABLE {table} ({columns})")
        values = list(rows)
        if values:
            marks = ", ".join("?" * len(values[0]))
            self.connection.executemany(f"INSERT INTO {table} VALUES ({marks})", values)  # noqa: S608


def _quoted(name: str) -> str:
    return f'"{name}"'
