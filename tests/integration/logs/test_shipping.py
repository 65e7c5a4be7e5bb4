"""Logs reach Elasticsearch: parsed, once, over restarts, outages and rotations."""

from __future__ import annotations

import json
import subprocess
import sys

import psutil
import pytest

from stack.engine import supervisor
from stack.engine.lifecycle import up
from stack.engine.secrets import read_secrets
from stack.log_shipper.setup import REFUSED
from tests.eventually import eventually
from tests.integration.logs.conftest import LogHome
from tests.leaks import SHORTEST

pytestmark = pytest.mark.integration

OUR_PROCESS = """
import structlog
from common.logs import configure_logging, correlated
configure_logging("producer")
log = structlog.get_logger()
with correlated("lake_trades:42", stream__query="lake_trades", stream__batch_id=42):
    log.info("ours", rows=7, **{"event.duration": 1500, "never.declared": "kept"})
raise RuntimeError("ours failed: postgresql://tickhouse:hunter2@127.0.0.1/market")
"""


def test_a_line_of_our_process_arrives_with_its_fields(logs: LogHome) -> None:
    with logs.log("producer").open("a") as file:
        subprocess.run([sys.executable, "-c", OUR_PROCESS], stderr=file, check=False)

    (message,) = logs.wait_for("ours", 1)

    assert message["trace.id"] == "lake_trades:42"
    assert (message["stream.query"], message["stream.batch_id"], message["event.duration"]) == ("lake_trades", 42, 1500)
    assert message["labels"] == {"rows": 7, "never_declared": "kept"}
    (uncaught,) = eventually(lambda: logs.documents({"term": {"event.action": "uncaught"}}))
    assert (uncaught["log.level"], uncaught["error.type"]) == ("critical", "RuntimeError")
    assert "hunter2" not in json.dumps(uncaught)


def test_lines_of_a_stack_trace_are_one_message(logs: LogHome) -> None:
    trace = "java.io.IOException: disk of traced\n\tat kafka.log.Log.append(Log.scala:1)\nCaused by: x\n"
    logs.append("kafka", f"2026-11-30T10:40:05,869 ERROR LogManager: traced message\n{trace}")

    (message,) = logs.wait_for("traced message", 1)

    assert (message["error.type"], message["error.message"]) == ("IOException", "disk of traced")
    assert message["error.stack_trace"] == trace.rstrip("\n")
    assert (message["service.name"], message["log.level"]) == ("kafka", "error")


def test_a_task_of_airflow_is_found_by_its_run(logs: LogHome) -> None:
    task = logs.home / "airflow/logs/dag_id=nightly/run_id=manual__1/task_id=audit/attempt=1.log"
    task.parent.mkdir(parents=True)
    line = {"timestamp": "2026-11-30T10:42:46.336022Z", "level": "error", "event": "Task failed with exception"}
    ids = {"dag_id": "nightly", "run_id": "manual__1", "task_id": "audit", "try_number": 1}
    error = {"error_detail": [{"exc_type": "AuditFailed", "exc_value": "law 3", "frames": []}]}
    task.write_text(json.dumps(line | ids | error) + "\n")

    (message,) = eventually(lambda: logs.documents({"term": {"trace.id": "nightly:manual__1"}}), timeout_s=60)

    assert (message["error.type"], message["error.message"]) == ("AuditFailed", "law 3")
    assert message["airflow.task_id"] == "audit"


def test_a_killed_shipper_loses_and_repeats_nothing(logs: LogHome) -> None:
    logs.append("kafka", logs.kafka_lines("killed", 1500))
    eventually(lambda: logs.marked("killed", 1))
    pid = supervisor.state("log_shipper").pid
    psutil.Process(pid).kill()
    logs.append("kafka", logs.kafka_lines("killed", 500))

    found = logs.wait_for("killed", 2000)

    assert len(found) == 2000
    assert supervisor.state("log_shipper").pid != pid


def test_lines_wait_while_elasticsearch_is_down_and_the_log_is_rotated(logs: LogHome) -> None:
    supervisor.stop(["elasticsearch"])
    try:
        logs.append("kafka", logs.kafka_lines("waiting", 300))
        eventually(lambda: any((logs.home / "data" / "log_shipper" / "work").glob("ship.0*")))
        logs.log("kafka").rename(logs.log("kafka").with_name("kafka.log.1"))
        logs.append("kafka", logs.kafka_lines("waiting", 200))
    finally:
        up(services=["elasticsearch"])

    found = logs.wait_for("waiting", 500)

    assert len(found) == 500


def test_a_document_that_the_index_refuses_is_kept_with_its_reason(logs: LogHome) -> None:
    # More than 1024 nested fields cannot come from our processes; the limit of the index stops it.
    deep: dict[str, object] = {}
    for _ in range(40):
        deep = {"a": deep or 1}
    line = {"@timestamp": "2026-11-30T10:00:00Z", "message": "too deep", "labels": deep}
    logs.append("producer", json.dumps(line) + "\n")

    text = eventually(lambda: "".join(path.read_text() for path in (logs.home / REFUSED).glob("*")), timeout_s=60)

    assert "too deep" in text
    assert "depth" in text


def test_no_secret_is_in_the_index(logs: LogHome) -> None:
    secrets = read_secrets(logs.home / "secrets.env")
    eventually(lambda: logs.documents({"term": {"service.name": "elasticsearch"}}), timeout_s=60)

    text = json.dumps(logs.documents({"match_all": {}}, 10_000))

    assert [name for name, value in secrets.items() if len(value) >= SHORTEST and value in text] == []
