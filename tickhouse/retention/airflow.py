"""Retention of Airflow's metadata: old runs, their dependent rows, and other old rows.

Airflow's own `airflow db clean` keeps the last scheduled run of a DAG, even when that run failed.
Here the last run and the last successful run of each DAG stay, because pages and DAGs need the
latter.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, urlsplit

import psycopg

from common.errors import StoreUnavailable
from common.settings import Settings
from tickhouse.retention.policy import Step, StorePlan, days_text, store_plan

# Rows per transaction; small, because the scheduler works on the same tables.
PAGE = 500

# Table to the condition of an old row. Task instances, XComs, notes, rendered fields and histories
# are deleted with their run by cascading foreign keys.
_OLD: dict[str, str] = {
    "dag_run": """state IN ('success', 'failed') AND coalesce(end_date, start_date, run_after) < %(horizon)s
        AND id NOT IN (SELECT max(id) FROM dag_run GROUP BY dag_id)
        AND id NOT IN (SELECT max(id) FROM dag_run WHERE state = 'success' GROUP BY dag_id)""",
    # Of deadlines that were missed, and of runs that failed in time. A deadline would go with its
    # run, but leave its callback; it goes with its callback as well.
    "callback": """created_at < %(horizon)s AND id NOT IN (SELECT callback_id FROM deadline
        JOIN dag_run ON dag_run.id = dagrun_id WHERE dag_run.state NOT IN ('success', 'failed'))""",
    "log": "dttm < %(horizon)s",
    "job": "latest_heartbeat < %(horizon)s AND state IS DISTINCT FROM 'running'",
    "asset_event": "timestamp < %(horizon)s",
    "import_error": "timestamp < %(horizon)s",
    "revoked_token": "exp < %(horizon)s",
    "dag_version": """created_at < %(horizon)s
        AND id NOT IN (SELECT dag_version_id FROM task_instance WHERE dag_version_id IS NOT NULL)
        AND id NOT IN (SELECT created_dag_version_id FROM dag_run WHERE created_dag_version_id IS NOT NULL)
        AND (dag_id, version_number) NOT IN (SELECT dag_id, max(version_number) FROM dag_version GROUP BY 1)""",
}


@dataclass(frozen=True)
class AirflowHistory:
    """Retention of Airflow's metadata database."""

    settings: Settings
    days: int
    store: str = "airflow"

    @property
    def declared(self) -> str:
        """Return in words how long a run is kept."""
        return f"a run, {days_text(self.days)} after its end; the last and the last successful one of each DAG stay"

    def plan(self, now: datetime) -> StorePlan:
        """Return the tables with old rows.

        Raises:
            StoreUnavailable: The database does not answer.
        """
        horizon = now - timedelta(days=self.days)
        with _connected(self.settings) as connection:
            counts = {table: _count(connection, table, horizon) for table in _OLD}
            size = connection.execute("SELECT pg_database_size(current_database())").fetchone()
        why = f"ended before {horizon:%Y-%m-%d}"
        steps = [Step("remove", table, f"{why}: {count} rows", rows=count) for table, count in counts.items() if count]
        return store_plan(self, steps, bytes=size[0] if size else None)

    def do(self, step: Step, now: datetime) -> None:
        """Delete the old rows of one table, a page at a time.

        Raises:
            StoreUnavailable: The database does not answer.
        """
        values = {"horizon": now - timedelta(days=self.days), "page": PAGE}
        old = f"SELECT ctid FROM {step.item} WHERE {_OLD[step.item]} LIMIT %(page)s"  # noqa: S608 - constants above
        query: Any = f"DELETE FROM {step.item} WHERE ctid IN ({old})"  # noqa: S608 - constants above
        with _connected(self.settings) as connection:
            while connection.execute(query, values).rowcount > 0:
                pass


def _count(connection: psycopg.Connection[Any], table: str, horizon: datetime) -> int:
    query: Any = f"SELECT count(*) FROM {table} WHERE {_OLD[table]}"  # noqa: S608 - constants above
    row = connection.execute(query, {"horizon": horizon}).fetchone()
    return int(row[0]) if row else 0


@contextmanager
def _connected(settings: Settings) -> Iterator[psycopg.Connection[Any]]:
    address = urlsplit(settings.database_url.get_secret_value()).netloc.rpartition("@")[2]
    password = settings.postgres_airflow_password.get_secret_value()
    dsn = f"postgresql://airflow:{quote(password)}@{address}/airflow"
    try:
        with psycopg.connect(dsn, connect_timeout=10, autocommit=True) as connection:
            yield connection
    except psycopg.Error as error:
        raise StoreUnavailable(
            f"Airflow's database failed: {str(error).strip()}",
            safe="Runs that were not deleted are unchanged.",
            next_command="tickhouse logs postgres",
        ) from error
