"""Our processes log ECS lines, with one id per batch, run or event."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from common.logs import mask_secrets

PROGRAM = """
import logging, structlog
from common.logs import configure_logging, correlated
configure_logging("api")
log = structlog.get_logger()
{body}
"""


def lines_of(body: str, **environment: str) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(body=body)], env=environment, capture_output=True, text=True, check=False
    )
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_a_message_has_the_fields_of_its_service() -> None:
    (line,) = lines_of("log.warning('store_down', error='x', path=None, names={'a.b': [1]})")

    assert (line["log.level"], line["message"], line["event"]["action"]) == ("warning", "store_down", "store_down")
    assert (line["service"], line["event"]["dataset"]) == ({"name": "api"}, "api.log")
    assert line["error"] == {"message": "x"}
    assert line["labels"] == {"names": {"a_b": [1]}}
    assert line["trace"]["id"].startswith("api:")


def test_messages_of_a_batch_share_its_id_and_the_run_has_another() -> None:
    inside = "log.info('a')\n logging.getLogger('lib').warning('b')"

    first, second, after = lines_of(f"with correlated('lake:4', stream__batch_id=4):\n {inside}\nlog.info('c')")

    assert first["trace"] == second["trace"] == {"id": "lake:4"}
    assert second["log"]["logger"] == "lib"
    assert after["trace"]["id"].startswith("api:")


def test_a_process_of_a_task_shares_the_id_of_the_run() -> None:
    (line,) = lines_of("log.info('a')", AIRFLOW_CTX_DAG_ID="nightly", AIRFLOW_CTX_DAG_RUN_ID="manual__1")

    assert line["trace"]["id"] == "nightly:manual__1"
    assert line["airflow"] == {"dag_id": "nightly", "run_id": "manual__1"}


def test_an_uncaught_error_is_a_line_and_names_its_type() -> None:
    (line,) = lines_of("raise ValueError('redis://:hunter2@host/0')")

    assert (line["log.level"], line["error"]["type"]) == ("critical", "ValueError")
    assert "hunter2" not in json.dumps(line)
    assert "Traceback" in line["error"]["stack_trace"]


@pytest.mark.parametrize("text", ["tokens: 5", "kept 3 days", "https://host/path?x=1", "a.b.c.password"])
def test_a_text_without_a_secret_is_unchanged(text: str) -> None:
    assert mask_secrets(text) == text
