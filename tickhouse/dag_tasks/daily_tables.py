"""Make the daily tables in PostgreSQL equal to a commit of the lake.

Delivery guarantee: exactly the rows of the commit. One transaction under a lock removes the rows
that the commit does not have, replaces those that differ, leaves equal ones untouched, and stores
the commit id. So a second call changes nothing, and a killed call leaves the tables unchanged.
After a rollback of the lake it is called with the older commit.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pyarrow as pa
from psycopg import sql

from common.clients.lake_files import RefFiles
from common.errors import StoreUnavailable
from common.settings import Settings
from tickhouse.lake.branches import head
from tickhouse.lineage.events import record
from tickhouse.lineage.runs import load_run

TABLES = ("candles_1d", "top_movers", "volatility", "monthly")
KEY = ("market", "symbol", "open_time")
# Key of an advisory lock: two loads must not interleave. The number has no meaning.
LOAD_LOCK = 7_411_002


def load(settings: Settings, ref: str) -> dict[str, int]:
    """Make the tables equal to a ref; return the number of changed rows per table.

    Raises:
        ConfigurationError: There is no such ref.
        StoreUnavailable: The lake or PostgreSQL does not answer.
    """
    commit_id = head(settings, ref)
    lake = RefFiles.connect(settings, commit_id)
    tables = {table: read_table(lake, table) for table in TABLES}
    with transaction(settings.database_dsn("batch")) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [LOAD_LOCK])
        changed = {table: _replace(connection, table, rows) for table, rows in tables.items()}
        connection.execute(
            "INSERT INTO gold.source (commit_id) VALUES (%s) ON CONFLICT (only_row) DO UPDATE "
            "SET commit_id = excluded.commit_id, loaded_at = clock_timestamp() "
            "WHERE gold.source.commit_id <> excluded.commit_id",
            [commit_id],
        )
    record(settings, load_run(settings, commit_id, TABLES))
    return changed


def read_table(lake: RefFiles, table: str) -> pa.Table | None:
    """Return all partitions of a gold table; None when the ref has none.

    Raises:
        StoreUnavailable: The lake does not answer.
    """
    parts = [lake.table(path) for path in lake.parquet_files(f"gold/{table}")]
    present = [part for part in parts if part is not None]
    return pa.concat_tables(present) if present else None


def _replace(connection: psycopg.Connection, table: str, rows: pa.Table | None) -> int:
    target, stage = sql.Identifier("gold", table), sql.Identifier(f"stage_{table}")
    connection.execute(sql.SQL("CREATE TEMPORARY TABLE {} (LIKE {}) ON COMMIT DROP").format(stage, target))
    names = [] if rows is None else rows.column_names
    if rows is not None:
        columns = sql.SQL(", ").join(map(sql.Identifier, names))
        with connection.cursor().copy(sql.SQL("COPY {} ({}) FROM STDIN").format(stage, columns)) as copy:
            for batch in rows.to_batches():
                for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                    copy.write_row(row)
    removed = _remove_rows_not_in_stage(connection, target, stage)
    return removed + (_upsert(connection, target, stage, names) if names else 0)


def _remove_rows_not_in_stage(connection: psycopg.Connection, target: sql.Identifier, stage: sql.Identifier) -> int:
    key = sql.SQL(", ").join(map(sql.Identifier, KEY))
    statement = "DELETE FROM {target} WHERE ({key}) NOT IN (SELECT {key} FROM {stage})"
    return connection.execute(sql.SQL(statement).format(target=target, key=key, stage=stage)).rowcount


def _upsert(connection: psycopg.Connection, target: sql.Identifier, stage: sql.Identifier, names: list[str]) -> int:
    statement = """
        INSERT INTO {target} AS old ({names}) SELECT {names} FROM {stage}
        ON CONFLICT ({key}) DO UPDATE SET ({names}) = ROW({new})
        WHERE ({old}) IS DISTINCT FROM ({new})
    """
    columns = list(map(sql.Identifier, names))
    parts = {
        "names": sql.SQL(", ").join(columns),
        "key": sql.SQL(", ").join(map(sql.Identifier, KEY)),
        "new": sql.SQL(", ").join(sql.SQL("excluded.{}").format(column) for column in columns),
        "old": sql.SQL(", ").join(sql.SQL("old.{}").format(column) for column in columns),
    }
    return connection.execute(sql.SQL(statement).format(target=target, stage=stage, **parts)).rowcount


@contextmanager
def transaction(dsn: str) -> Iterator[psycopg.Connection]:
    """Open a connection for one transaction.

    Raises:
        StoreUnavailable: PostgreSQL does not answer.
    """
    try:
        with psycopg.connect(dsn, connect_timeout=10, application_name="tickhouse-batch") as connection:
            yield connection
    except psycopg.OperationalError as error:
        raise StoreUnavailable(
            f"PostgreSQL did not answer: {error}".strip(),
            safe="The tables are unchanged.",
            next_command="tickhouse status",
        ) from error
