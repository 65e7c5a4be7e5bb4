"""Compare the daily tables in PostgreSQL with gold of a commit, row by row.

The audit reads gold with code of its own, with DuckDB. So a fault in the loader
(tickhouse/dag_tasks/daily_tables.py) shows as a difference and cannot be the same on both sides.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import psycopg
from psycopg import sql

from common.clients.lake_files import RefFiles
from common.clients.postgres import read_only
from common.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

# The tables of schema `gold` in PostgreSQL, which are folders of gold in the lake.
TABLES = ("candles_1d", "top_movers", "volatility", "monthly")
# The columns to compare when the lake has no file of a table, and so no columns.
KEY = ("market", "symbol", "open_time")


@dataclass(frozen=True, slots=True)
class TableRows:
    """Rows of one table; the values of a row are in the order of `columns`."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]


def postgres_laws(settings: Settings, commit_id: str) -> dict[str, pd.DataFrame]:
    """Return the law table of checkpoint `postgres`: one row per table.

    Raises:
        StoreUnavailable: The lake or PostgreSQL does not answer.
    """
    import pandas as pd

    lake = RefFiles.connect(settings, commit_id)
    with read_only(settings.database_dsn("reader")) as connection:
        source = connection.execute("SELECT commit_id FROM gold.source").fetchone()
        loaded = source[0] if source else "none"
        rows = [_compare_table(connection, lake, table) for table in TABLES]
    return {"postgres": pd.DataFrame([row | {"ref_loaded": loaded, "ref_wanted": commit_id} for row in rows])}


def _compare_table(connection: psycopg.Connection[Any], lake: RefFiles, table: str) -> dict[str, Any]:
    wanted = lake_rows(lake, table)
    columns = sql.SQL(", ").join(map(sql.Identifier, wanted.columns))
    query = sql.SQL("SELECT {} FROM {}").format(columns, sql.Identifier("gold", table))
    found = connection.execute(query).fetchall()
    return {
        "table": table,
        "rows_in_lake": len(wanted.rows),
        "rows_in_postgres": len(found),
        "differing": len(set(found) ^ set(wanted.rows)),
    }


def lake_rows(lake: RefFiles, table: str) -> TableRows:
    """Return the rows of a gold table of a ref, all partitions.

    Raises:
        StoreUnavailable: The lake does not answer.
    """
    paths = lake.parquet_files(f"gold/{table}")
    if not paths:
        return TableRows(KEY, [])
    with tempfile.TemporaryDirectory() as scratch, duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        files = connection.read_parquet(lake.fetch(paths, Path(scratch)), hive_partitioning=False, union_by_name=True)
        # Through Arrow: DuckDB's own conversion of times with a zone needs pytz, on which Tickhouse
        # does not depend directly.
        values = files.to_arrow_table()
    rows = zip(*(column.to_pylist() for column in values.columns), strict=True)
    return TableRows(tuple(values.column_names), list(rows))
