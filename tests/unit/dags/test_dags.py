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
        "schedule": str([one.name for one in dag.schedule] if isinstance(dag.schedule, list) else dag.schedule),
        "max_active_runs": dag.max_active_runs,
        "catchup": dag.catchup,
        "tags": sorted(dag.tags),
        "has_doc": bool(dag.doc_md),
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
    assert dags == json.loads(SNAPSHOT.read_text())


def test_every_dag_is_documented_and_retries(dags: dict[str, Any]) -> None:
    for dag_id, dag in dags.items():
        assert dag["has_doc"], dag_id
        assert "tickhouse" in dag["tags"], dag_id
        assert all(dag["retries"].values()), dag_id


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
