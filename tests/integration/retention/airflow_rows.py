"""Rows of Airflow's metadata database, as Airflow leaves them."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import psycopg

BUNDLE = "retention"
_FLAGS = ("is_paused", "is_stale", "has_task_concurrency_limits", "has_import_errors", "exceeds_max_non_backfill")

_KIND = {"timetable_type": "", "partition_mapper_info": "{}"}


def insert(connection: psycopg.Connection[Any], table: str, **values: Any) -> None:
    """Insert one row."""
    columns, marks = ", ".join(values), ", ".join(["%s"] * len(values))
    query = f"INSERT INTO {table} ({columns}) VALUES ({marks})"  # noqa: S608 - names of these tests
    connection.execute(query.encode(), list(values.values()))


def add_dags(connection: psycopg.Connection[Any], dag_ids: Iterable[str]) -> None:
    """Add DAGs with a version each."""
    insert(connection, "dag_bundle", name=BUNDLE, active=True)
    numbers = {"max_active_tasks": 1, "max_active_runs": 1, "max_consecutive_failed_dag_runs": 0}
    times = dict.fromkeys(("created_at", "last_updated"), datetime.now(UTC))
    for dag_id in dag_ids:
        insert(connection, "dag", dag_id=dag_id, bundle_name=BUNDLE, **numbers, **_KIND, **dict.fromkeys(_FLAGS, False))
        insert(connection, "dag_version", id=uuid.uuid4(), dag_id=dag_id, version_number=1, **times)


def add_run(connection: psycopg.Connection[Any], dag_id: str, state: str, moment: datetime) -> str:
    """Add a run that ended at a moment, with a task; return the run's id."""
    run = {"dag_id": dag_id, "run_id": f"{state}-{moment:%Y-%m-%dT%H}", "state": state}
    times = dict.fromkeys(("start_date", "end_date", "run_after", "queued_at", "updated_at"), moment)
    insert(connection, "dag_run", **run, **times, run_type="scheduled", clear_number=0)
    version = connection.execute("SELECT id FROM dag_version WHERE dag_id = %s", [dag_id]).fetchone()
    one = {"id": uuid.uuid4(), "task_id": "t", "map_index": -1, "try_number": 1, "max_tries": 0, "pool_slots": 1}
    texts = {"pool": "default_pool", "queue": "default", "hostname": "", "executor_config": b""}
    insert(connection, "task_instance", **run, **one, **texts, dag_version_id=version[0] if version else None)
    callback = {"id": uuid.uuid4(), "type": "triggerer", "fetch_method": "import_path", "data": "{}"}
    insert(connection, "callback", **callback, priority_weight=1, created_at=moment)
    made = dict.fromkeys(("created_at", "last_updated_at", "deadline_time"), moment)
    number = run_number(connection, run)
    insert(connection, "deadline", id=uuid.uuid4(), dagrun_id=number, callback_id=callback["id"], missed=True, **made)
    insert(
        connection,
        "xcom",
        dag_run_id=number,
        key="return_value",
        timestamp=moment,
        **handed_on(run),
    )
    return str(run["run_id"])


def run_number(connection: psycopg.Connection[Any], run: dict[str, str]) -> int:
    """Return the number under which Airflow knows a run."""
    found = connection.execute(
        "SELECT id FROM dag_run WHERE dag_id = %(dag_id)s AND run_id = %(run_id)s", run
    ).fetchone()
    return int(found[0]) if found else 0


def handed_on(run: dict[str, str]) -> dict[str, Any]:
    """Return the XCom value of the run's task."""
    return {"dag_id": run["dag_id"], "run_id": run["run_id"], "task_id": "t", "map_index": -1, "value": '"x"'}
