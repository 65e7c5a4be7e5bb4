"""The DAG folder as Airflow sees it: it parses, equals the snapshot, and follows the checklist."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from common.settings import REPO

SNAPSHOT = Path(__file__).parent / "snapshots" / "graph.json"

# Airflow reads its configuration at import, so the DAGs are parsed in their own process.
PARSE = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
bag = DagBag(sys.argv[1])
print(json.dumps({"errors": bag.import_errors, "dags": {
    dag_id: {
        "schedule": str([one.name for one in dag.schedule] if isinstance(dag.schedule, list)
                        else getattr(dag.schedule, "expression", dag.schedule)),
        "max_active_runs": dag.max_active_runs,
        "catchup": dag.catchup,
        "tags": sorted(dag.tags),
        "has_doc": bool(dag.doc_md),
        "description": dag.description or "",
        "owner": dag.owner,
        "deadline_s": [one.interval.total_seconds() for one in dag.deadline or []],
        "params": {name: {**one.schema, "description": one.description or ""}
                   for name in dag.params for one in [dag.params.get_param(name)]},
        "links": {task.task_id: [link.name for link in task.operator_extra_links] for task in dag.tasks
                  if task.operator_extra_links},
        "outlets": {task.task_id: [one.name for one in task.outlets] for task in dag.tasks if task.outlets},
        "keeps_failures": all(bool(task.on_failure_callback) for task in dag.tasks),
        "dagrun_timeout_s": dag.dagrun_timeout and dag.dagrun_timeout.total_seconds(),
        "execution_timeout_s": {
            task.task_id: task.execution_timeout and task.execution_timeout.total_seconds() for task in dag.tasks
        },
        "retries": {task.task_id: task.retries for task in dag.tasks},
        "tasks": {task.task_id: sorted(task.downstream_task_ids) for task in dag.tasks},
        "operators": {task.task_id: task.task_type for task in dag.tasks},
    } for dag_id, dag in bag.dags.items()}}))
"""


@cache
def parsed(folder: Path) -> dict[str, Any]:
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(folder),
        "TICKHOUSE_HOME": str(folder),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder}/airflow.db",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "PYTHONPATH": str(REPO),
    }
    command = [sys.executable, "-W", "ignore", "-c", PARSE, str(REPO / "dags")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    document: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return document


@pytest.fixture(scope="session")
def dags(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    result = parsed(tmp_path_factory.mktemp("airflow"))
    assert result["errors"] == {}
    return dict(result["dags"])


def test_graph_is_the_one_in_the_snapshot(dags: dict[str, Any]) -> None:
    if os.environ.get("TICKHOUSE_UPDATE_SNAPSHOTS"):
        SNAPSHOT.write_text(f"{json.dumps(dags, indent=1, sort_keys=True)}\n")
    assert dags == json.loads(SNAPSHOT.read_text())


def test_every_dag_is_documented_and_retries(dags: dict[str, Any]) -> None:
    for dag_id, dag in dags.items():
        assert dag["has_doc"], dag_id
        assert "tickhouse" in dag["tags"], dag_id
        assert all(dag["retries"].values()), dag_id


# Metrics watch them, as tickhouse/dag_tasks/announcement.py says.
WATCHED_BY_METRICS = {"connectors", "lake_commit", "stream_trades"}


def test_every_dag_has_an_owner_a_description_and_says_why_it_failed(dags: dict[str, Any]) -> None:
    for dag_id, dag in dags.items():
        assert dag["owner"] == "tickhouse", dag_id
        assert dag["description"].endswith("."), dag_id
        assert dag["keeps_failures"], dag_id
        assert ("announce" in dag["tasks"]) == (dag_id not in WATCHED_BY_METRICS), dag_id


def test_a_failure_of_any_task_reaches_the_announcement(dags: dict[str, Any]) -> None:
    for dag_id in dags.keys() - WATCHED_BY_METRICS:
        downstream = dags[dag_id]["tasks"]
        leaves = sorted(name for name, after in downstream.items() if not after)
        assert leaves == ["announce"], dag_id


def test_every_run_has_a_deadline_before_its_timeout(dags: dict[str, Any]) -> None:
    for dag_id in dags.keys() - {"stream_trades"}:
        (deadline_s,) = dags[dag_id]["deadline_s"]
        assert 0 < deadline_s < dags[dag_id]["dagrun_timeout_s"], dag_id


def test_events_are_made_only_through_aliases(dags: dict[str, Any]) -> None:
    """A task with a plain asset as outlet makes an event whenever it succeeds."""
    outlets = [name for dag in dags.values() for names in dag["outlets"].values() for name in names]
    assert outlets
    assert [name for name in outlets if not name.endswith("_changes")] == []


def test_every_run_and_task_ends_some_day(dags: dict[str, Any]) -> None:
    """With one active run at a time, a run that never ends blocks all later ones.

    Only the stream is meant to run forever.
    """
    for dag_id, dag in dags.items():
        if dag_id == "stream_trades":
            continue
        assert dag["dagrun_timeout_s"], dag_id
        for name, seconds in dag["execution_timeout_s"].items():
            assert 0 < (seconds or 0) <= dag["dagrun_timeout_s"], f"{dag_id}.{name}"


@pytest.mark.parametrize("path", sorted((REPO / "dags").glob("*.py")), ids=lambda path: path.name)
def test_dag_files_use_only_the_public_interface(path: Path) -> None:
    tree = ast.parse(path.read_text())
    modules = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    ours = {name for name in modules if name.startswith("airflow")}
    assert all(name.startswith(("airflow.sdk", "airflow.providers.")) for name in ours), ours
    for section in ("What:", "Why:", "When:", "Prerequisites:"):
        assert section in (ast.get_docstring(tree) or ""), section


def test_the_folder_parses_in_five_seconds_of_cpu(tmp_path: Path) -> None:
    """The import of Airflow itself is not counted."""
    code = PARSE.replace("bag = DagBag", "import time; began = time.process_time(); bag = DagBag").replace(
        "print(", "print(time.process_time() - began); print("
    )
    environment = {**os.environ, "AIRFLOW_HOME": str(tmp_path), "PYTHONPATH": str(REPO)}
    command = [sys.executable, "-W", "ignore", "-c", code, str(REPO / "dags")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert float(done.stdout.splitlines()[-2]) < 5
