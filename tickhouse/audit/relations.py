"""The tables of one lake ref as DuckDB views, for the laws.

A table that is not there is an empty view, a column that is not there is null: the laws say what is missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import yaml

from tickhouse.days import ONE_DAY, Days, day_of
from tickhouse.reconcile.lake import Bronze, Lake, LakeFile
from tickhouse.settings import REPO

EXPECTATIONS = REPO / "expectations"
PARTITIONS = {"date": "DATE", "hour": "INTEGER"}
_HIVE = ds.partitioning(pa.schema([("date", pa.date32()), ("hour", pa.int32())]), flavor="hive")


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
    """

    def __init__(self, lake: Lake, days: Days) -> None:
        self._lake = lake
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

    def _of_days(self, table: str, days: Days) -> list[str]:
        folder = self._tables[table]["folder"]
        return [path for day in days for path in self._lake.files(f"{folder}/date={day}")]

    def _rows_found(self, named: Sequence[LakeFile]) -> dict[str, int | None]:
        there = {path for day in self._days for path in self._lake.files(f"bronze/trades/date={day}")}
        return {one.path: self._lake.rows(one.path) if one.path in there else None for one in named}

    def _view(self, table: str, paths: Sequence[str], name: str = "") -> None:
        """Make the view of a table from files, with the columns and types that it should have."""
        columns: Mapping[str, str] = self._tables[table]["columns"]
        found: dict[str, str] = {}
        source = ""
        if paths:
            source = f"{name or table}_files"
            self.connection.register(source, self._lake.dataset(paths, _HIVE))
            described = self.connection.execute(f"DESCRIBE {source}").fetchall()
            found = {row[0]: row[1] for row in described}
        if not name:
            self._note(table, columns, found, is_there=bool(paths))
        every = {**PARTITIONS, **columns}
        shown = ", ".join(
            f"TRY_CAST({_quoted(column) if column in found else 'NULL'} AS {kind}) AS {_quoted(column)}"
            for column, kind in every.items()
        )
        # Names come from tables.yaml, never from outside.
        text = f"SELECT {shown}" + (f" FROM {source}" if source else " WHERE false")  # noqa: S608
        self.connection.execute(f"CREATE VIEW {name or table} AS {text}")

    def _note(self, table: str, wanted: Mapping[str, str], found: Mapping[str, str], *, is_there: bool) -> None:
        kinds = {column: kind for column, kind in found.items() if column in wanted or column not in PARTITIONS}
        if is_there:
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
