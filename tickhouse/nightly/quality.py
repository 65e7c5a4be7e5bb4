"""Audits of what is published: days of a ref, and the tables in PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
from psycopg import sql

from tickhouse.audit.run import Report, audit_lake, judged
from tickhouse.days import Days, day_of
from tickhouse.errors import AuditFailed
from tickhouse.lake.branches import head
from tickhouse.nightly.serving import KEY, TABLES, read_table, transaction
from tickhouse.reconcile.lake import connect
from tickhouse.settings import Settings

if TYPE_CHECKING:
    import pandas as pd


def choose(settings: Settings, ref: str, first: str | None, last: str | None) -> dict[str, str] | None:
    """Return commit, first and last day to audit; the newest day with candles when none is given, None without any.

    Raises:
        ConfigurationError: There is no such ref.
        StoreUnavailable: The lake does not answer.
    """
    commit_id = head(settings, ref)
    days = [day_of(path) for path in connect(settings, commit_id).files("gold/candles_1d")]
    newest = max((day for day in days if day is not None), default=None)
    if newest is None:
        return None
    return {"commit": commit_id, "first": first or last or str(newest), "last": last or first or str(newest)}


def audit_days(settings: Settings, commit_id: str, days: Days) -> Report:
    """Audit days of a commit.

    Raises:
        AuditFailed: A law does not hold.
        StoreUnavailable: The lake does not answer.
    """
    return _passed(audit_lake(settings, commit_id, days))


def audit_tables(settings: Settings, commit_id: str) -> Report:
    """Audit PostgreSQL's tables against a commit.

    Raises:
        AuditFailed: They differ.
        StoreUnavailable: The lake or PostgreSQL does not answer.
    """
    return _passed(judged(settings, commit_id, "postgres", "all days", served_laws(settings, commit_id)))


def served_laws(settings: Settings, commit_id: str) -> dict[str, pd.DataFrame]:
    """Return the law table of checkpoint `postgres`: one row a table.

    Raises:
        StoreUnavailable: The lake or PostgreSQL does not answer.
    """
    import pandas as pd

    lake = connect(settings, commit_id)
    rows = []
    with transaction(settings.database_dsn("reader")) as connection:
        source = connection.execute("SELECT commit_id FROM gold.source").fetchone()
        for table in TABLES:
            wanted = _ordered(read_table(lake, table))
            names = wanted.column_names if wanted is not None else list(KEY)
            columns = sql.SQL(", ").join(map(sql.Identifier, names))
            query = sql.SQL("SELECT {} FROM {}").format(columns, sql.Identifier("gold", table))
            found = connection.execute(query).fetchall()
            rows.append(
                {
                    "table": table,
                    "rows_in_lake": 0 if wanted is None else len(wanted),
                    "rows_in_postgres": len(found),
                    "differing": len(set(found) ^ set(_tuples(wanted))),
                    "ref_loaded": source[0] if source else "none",
                    "ref_wanted": commit_id,
                }
            )
    return {"postgres": pd.DataFrame(rows)}


def _ordered(rows: pa.Table | None) -> pa.Table | None:
    return None if rows is None else rows.sort_by([(name, "ascending") for name in KEY])


def _tuples(rows: pa.Table | None) -> list[tuple[object, ...]]:
    return [] if rows is None else list(zip(*(column.to_pylist() for column in rows.columns), strict=True))


def _passed(report: Report) -> Report:
    if report.ok:
        return report
    raise AuditFailed(
        f"{report.what} breaks {len(report.broken)} laws at {report.commit_id[:16]}: {'; '.join(report.broken)}",
        safe=f"Nothing was changed. Report: {report.url}",
        next_command="tickhouse lake log main",
    )
