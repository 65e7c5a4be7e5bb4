"""The tables of one lake ref as DuckDB views, for the laws.

A missing table is an empty view, and a missing column is null: the laws report what is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import yaml

from common.clients.lake_files import BronzeFile, BronzeListing, RefFiles
from common.days import ONE_DAY, Days, day_of, midnight
from common.settings import REPO
from schemas.contracts import contract_sizes

EXPECTATIONS = REPO / "expectations"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Partition folders that are columns; no law uses `month`.
PARTITIONS = {"date": "DATE", "hour": "INTEGER"}


@dataclass(frozen=True, slots=True)
class CommitRows:
    """Rows of one topic by the metadata of the commits, and by the manifests that they name."""

    topic: str
    rows_in_commits: int
    rows_in_manifests: int
    missing_manifests: int


def wanted_tables(folder: Path = EXPECTATIONS) -> dict[str, Any]:
    """Return `tables.yaml`: folder and columns by table."""
    document: dict[str, Any] = yaml.safe_load((folder / "tables.yaml").read_text())
    return document


@dataclass(frozen=True, slots=True)
class ExchangeDay:
    """The figures of one day in the exchange's own daily kline.

    `comparison` is `compared`, or the reason why there are no figures.

    `volume` and `quote_volume` have the same meaning as in our candles (docs/reference/tables.md).
    """

    market: str
    symbol: str
    date: date
    comparison: str
    trades: int | None = None
    volume: Decimal | None = None
    quote_volume: Decimal | None = None


Wanted = Sequence[tuple[str, str, date]]


def no_exchange_days(_: Wanted) -> Iterable[ExchangeDay]:
    """Return no day of the exchange; the law then reports that nothing was compared."""
    return ()


@dataclass(frozen=True, slots=True)
class DayInputs:
    """The inputs that the laws of a day need besides the ref.

    Attributes:
        exchange: Returns the exchange's daily klines of (market, symbol, day).
        problems: Objects below the manifests of other tables than trades, as
            `<path>: <what is wrong>`.
        now: When the audit is made; None is now.
    """

    exchange: Callable[[Wanted], Iterable[ExchangeDay]] = no_exchange_days
    problems: Sequence[object] = ()
    now: datetime | None = None


def thresholds(folder: Path = EXPECTATIONS) -> dict[str, float]:
    """Return the numbers of `thresholds.yaml` by name."""
    document: dict[str, Any] = yaml.safe_load((folder / "thresholds.yaml").read_text())
    return {name: one["value"] for name, one in document.items()}


class LakeViews:
    """A DuckDB connection with a view per table.

    Args:
        lake: The ref.
        days: The days to audit.
        scratch: Folder for copies of the files.
        now: When the audit is made; a day that is not over is checked up to then.
    """

    def __init__(self, lake: RefFiles, days: Days, scratch: Path, now: datetime | None = None) -> None:
        self._lake = lake
        self._scratch = scratch
        self._days = days
        self._now = now or datetime.now(UTC)
        self._thresholds = thresholds()
        self._tables = wanted_tables()
        self._columns: list[tuple[str, str, str, str]] = []
        self.connection = duckdb.connect(config={"threads": 2})
        self.connection.execute("SET TimeZone = 'UTC'")

    def open(self, bronze: BronzeListing, commits: Iterable[CommitRows], inputs: DayInputs | None = None) -> None:
        """Make all views.

        Args:
            bronze: The manifests of trades.
            commits: Rows by the metadata of commits.
            inputs: What the laws need besides the ref.

        Raises:
            StoreUnavailable: The lake does not answer.
        """
        named = [one for one in bronze.files if day_of(one.path) in self._days]
        found = self._rows_found(named)
        self._make_view("bronze", [one.path for one in named if found.get(one.path) is not None])
        lengths = [(one.path, one.rows, found.get(one.path)) for one in named]
        self._make_table("named_files", "path VARCHAR, rows BIGINT, rows_found BIGINT", lengths)
        for table in self._tables:
            if table not in ("bronze", "monthly"):
                self._make_view(table, self._paths_of_days(table, self._days))
        self._make_comparison_views()
        self._make_macros()
        self._make_summaries()
        self._make_day_tables(bronze, inputs or DayInputs())
        kinds = '"table" VARCHAR, "column" VARCHAR, type_wanted VARCHAR, type_found VARCHAR'
        self._make_table("columns_found", kinds, self._columns)
        kinds = "topic VARCHAR, rows_in_commits BIGINT, rows_in_manifests BIGINT, missing_manifests BIGINT"
        self._make_table("commits", kinds, map(astuple, commits))

    def _make_comparison_views(self) -> None:
        """Make views of the day before and of the months, with which the days are compared."""
        day_before = Days(self._days.first - ONE_DAY, self._days.first - ONE_DAY)
        self._make_view("silver", self._paths_of_days("silver", day_before), "silver_before")
        before = Days(self._days.first - int(self._thresholds["history_days"]) * ONE_DAY, self._days.first - ONE_DAY)
        self._make_view("candles_1m", self._paths_of_days("candles_1m", before), "candles_before")
        months = tuple(f"{month:%Y-%m}" for month in self._days.months())
        for table, name in (("candles_1d", "month_days"), ("volatility", "month_volatility")):
            paths = self._lake.parquet_files(self._tables[table]["folder"])
            self._make_view(table, [path for path in paths if str(day_of(path)).startswith(months)], name)
        paths = self._lake.parquet_files(self._tables["monthly"]["folder"])
        self._make_view("monthly", [path for path in paths if path.split("month=")[-1].startswith(months)])

    def _make_macros(self) -> None:
        """Make the SQL macros for thresholds and contract sizes, and those in `macros.sql`."""
        sizes = contract_sizes()
        cases: dict[str, tuple[str, Mapping[str, float], object]] = {
            "contract_size": ("split_part(name, '_', 1)", sizes.pairs, sizes.default),
            "threshold": ("name", self._thresholds, "NULL"),
        }
        for macro, (key, values, other) in cases.items():
            whens = " ".join(f"WHEN '{one}' THEN {value}" for one, value in values.items())
            self.connection.execute(f"CREATE MACRO {macro}(name) AS CASE {key} {whens} ELSE {other} END")
        self.connection.execute((EXPECTATIONS / "macros.sql").read_text())

    def _make_day_tables(self, bronze: BronzeListing, inputs: DayInputs) -> None:
        """Make the tables with the days' bounds, the exchange's figures and manifest problems."""
        ends = [(day, _micros(midnight(day)), _micros(min(midnight(day + ONE_DAY), self._now))) for day in self._days]
        self._make_table("audit_days", '"date" DATE, from_us BIGINT, until_us BIGINT', ends)
        wanted = self.connection.execute('SELECT market, symbol, "date" FROM candles_1d ORDER BY ALL').fetchall()
        kinds = 'market VARCHAR, symbol VARCHAR, "date" DATE, comparison VARCHAR, trades BIGINT'
        kinds += ", volume DECIMAL(38,8), quote_volume DECIMAL(38,16)"
        self._make_table("exchange_days", kinds, map(astuple, inputs.exchange(wanted)))
        problems = (*bronze.problems, *inputs.problems)
        self._make_table("manifest_problems", "problem VARCHAR", ((str(one),) for one in dict.fromkeys(problems)))
        self._make_table("manifests_read", "manifests BIGINT", [(len(bronze.manifests),)])

    def _make_summaries(self) -> None:
        """Scan the large tables once each, for all laws."""
        for path in sorted((EXPECTATIONS / "summaries").glob("*.sql")):
            self.connection.execute(f"CREATE TABLE {path.stem} AS {path.read_text()}")

    def _paths_of_days(self, table: str, days: Days) -> list[str]:
        folder = self._tables[table]["folder"]
        return [path for day in days for path in self._lake.parquet_files(f"{folder}/date={day}")]

    def _rows_found(self, named: Sequence[BronzeFile]) -> dict[str, int | None]:
        there = {path for day in self._days for path in self._lake.parquet_files(f"bronze/trades/date={day}")}
        return {one.path: self._lake.row_count(one.path) if one.path in there else None for one in named}

    def _make_view(self, table: str, paths: Sequence[str], name: str = "") -> None:
        """Make the view of a table from files, with the columns and types that it should have."""
        columns: Mapping[str, str] = self._tables[table]["columns"]
        source = self._source(paths) if paths else ""
        # Names come from tables.yaml, paths from the lake's listing.
        describe = f"DESCRIBE SELECT * FROM {source}"  # noqa: S608
        described = self.connection.execute(describe).fetchall() if source else []
        found = {row[0]: row[1] for row in described if row[0] != "month"}
        if source and not name:
            self._add_columns_found(table, columns, found)
        shown = ", ".join(
            f"TRY_CAST({_quoted(column) if column in found else 'NULL'} AS {kind}) AS {_quoted(column)}"
            for column, kind in {**PARTITIONS, **columns}.items()
        )
        text = f"SELECT {shown}" + (f" FROM {source}" if source else " WHERE false")  # noqa: S608
        self.connection.execute(f"CREATE VIEW {name or table} AS {text}")

    def _source(self, paths: Sequence[str]) -> str:
        # Files are copied first: DuckDB reads local files with a third of the CPU of an Arrow
        # dataset over S3.
        local = ", ".join(f"'{path}'" for path in self._lake.fetch(paths, self._scratch))
        kinds = ", ".join(f"'{name}': {kind}" for name, kind in PARTITIONS.items() if f"/{name}=" in paths[0])
        types = f", hive_types = {{{kinds}}}" if kinds else ""
        return f"read_parquet([{local}], hive_partitioning = true{types})"

    def _add_columns_found(self, table: str, wanted: Mapping[str, str], found: Mapping[str, str]) -> None:
        kinds = {column: kind for column, kind in found.items() if column not in PARTITIONS}
        self._columns += [
            (table, column, wanted.get(column, "none"), kinds.get(column, "none"))
            for column in dict.fromkeys([*wanted, *kinds])
        ]

    def _make_table(self, table: str, columns: str, rows: Iterable[tuple[Any, ...]]) -> None:
        self.connection.execute(f"CREATE TABLE {table} ({columns})")
        values = list(rows)
        if values:
            marks = ", ".join("?" * len(values[0]))
            self.connection.executemany(f"INSERT INTO {table} VALUES ({marks})", values)  # noqa: S608


def _micros(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _quoted(name: str) -> str:
    return f'"{name}"'
