"""`tickhouse logs search`, in Elasticsearch and in the files."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from stack.engine import supervisor
from stack.engine.lifecycle import up
from tests.eventually import eventually
from tests.integration.logs.conftest import LogHome
from tickhouse.cli import app

pytestmark = pytest.mark.integration


def search(*arguments: str) -> dict[str, Any]:
    done = CliRunner().invoke(app, ["logs", "search", *arguments, "--json"])
    assert done.exit_code == 0, done.output
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_the_files_give_the_same_messages_as_elasticsearch(logs: LogHome) -> None:
    logs.append("kafka", logs.kafka_lines("sought apple", 3))
    logs.append("redis", "17:M 30 Nov 2026 10:41:46.589 # sought apple in the past\n")
    eventually(lambda: len(logs.marked("sought apple")) == 4, timeout_s=60)
    question = ('"sought apple"', "--since", "1h", "--service", "kafka", "--level", "info")

    indexed = search(*question)
    supervisor.stop(["log_shipper"])
    try:
        read = search(*question)
    finally:
        up(services=["log_shipper"])

    assert (indexed["searched"], read["searched"]) == ("elasticsearch", "files")
    assert [one["message"] for one in indexed["messages"]] == [f"sought apple {number}" for number in range(3)]
    without_place = [{**one, "log.offset": 0} for one in indexed["messages"]]
    assert [{**one, "log.offset": 0} for one in read["messages"]] == without_place


def test_a_level_leaves_out_what_is_below_it(logs: LogHome) -> None:
    logs.append("kafka", logs.kafka_lines("sought pear", 1).replace("INFO", "WARN"))
    eventually(lambda: logs.marked("sought pear"), timeout_s=60)

    assert search("pear", "--level", "warning")["total"] == 1
    assert search("pear", "--level", "error")["total"] == 0
