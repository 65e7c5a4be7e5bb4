"""`tickhouse connectors` against a real worker."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from common.clients.connect import Worker
from common.clients.kafka import TopicLog
from common.errors import ConfigurationError, DriftFound
from common.settings import REPO
from common.topics import ENRICHED_TRADES
from tests.eventually import eventually
from tests.integration.sinks.conftest import Sinks
from tickhouse.connectors import files

pytestmark = pytest.mark.integration

NAME = "mongodb-trades"


@pytest.fixture
def folder(sinks: Sinks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the connector files that a test may change."""
    for path in files.FOLDER.glob("*.json"):
        shutil.copy(path, tmp_path)
    monkeypatch.setattr(files.read, "__defaults__", (tmp_path,))
    return tmp_path


def change(folder: Path, key: str, value: str) -> None:
    path = folder / f"{NAME}.json"
    document = json.loads(path.read_text())
    document["config"][key] = value
    path.write_text(json.dumps(document))


def test_apply_twice_changes_nothing(sinks: Sinks) -> None:
    for _ in range(2):
        changes = json.loads(sinks.run("connectors", "apply", "--json"))
        assert {one["name"]: one["action"] for one in changes} == dict.fromkeys(files.read(), "none")
    sinks.run("connectors", "plan")


def test_the_deploy_script_is_the_same_command(sinks: Sinks) -> None:
    done = subprocess.run([REPO / "connectors" / "deploy", "ls", "--json"], capture_output=True, text=True, check=True)

    assert {one["name"] for one in json.loads(done.stdout)} == set(files.read())


def test_drift_is_shown_and_applied(sinks: Sinks, folder: Path) -> None:
    change(folder, "max.batch.size", "123")
    (drift,) = [
        one
        for one in json.loads(sinks.run("connectors", "plan", "--json", expected=DriftFound.exit_code))
        if one["action"] != "none"
    ]
    assert drift["differences"] == [{"key": "max.batch.size", "found": "500", "wanted": "123"}]

    sinks.run("connectors", "apply", NAME)
    sinks.run("connectors", "plan")
    change(folder, "max.batch.size", "500")
    sinks.run("connectors", "apply", NAME)
    assert json.loads(sinks.run("connectors", "describe", NAME, "--json"))["config"]["max.batch.size"] == "500"


def test_the_workers_own_validation_refuses_and_nothing_is_changed(sinks: Sinks, folder: Path) -> None:
    change(folder, "max.batch.size", "many")
    change(folder, "collection", "another")

    output = sinks.run("connectors", "plan", "--json", expected=ConfigurationError.exit_code)
    sinks.run("connectors", "apply", expected=ConfigurationError.exit_code)

    faults = {one["name"]: one["faults"] for one in json.loads(output)}
    assert "max.batch.size" in faults[NAME]
    assert json.loads(sinks.run("connectors", "describe", NAME, "--json"))["config"]["collection"] == "trades"


def test_pause_resume_and_restart(sinks: Sinks) -> None:
    sinks.run("connectors", "pause", NAME)
    eventually(lambda: sinks.states()[NAME]["state"] == "PAUSED", timeout_s=60)
    sinks.run("connectors", "resume", NAME)
    eventually(lambda: sinks.states()[NAME]["state"] == "RUNNING", timeout_s=60)
    sinks.run("connectors", "restart", NAME)
    sinks.drained()


def test_a_stopped_connector_has_no_tasks_and_resumes(sinks: Sinks) -> None:
    sinks.run("connectors", "stop", NAME)
    stopped = eventually(lambda: (now := sinks.states()[NAME])["state"] == "STOPPED" and now, timeout_s=60)
    assert stopped["tasks"] == []

    sinks.run("connectors", "resume", NAME)
    eventually(lambda: len(sinks.states()[NAME]["tasks"]) == 2, timeout_s=60)
    sinks.run("connectors", "restart", NAME, "--task", "1")
    sinks.run("connectors", "restart", NAME, "--task", "7", expected=ConfigurationError.exit_code)
    sinks.drained()


def test_offsets_are_how_far_the_connector_has_read(sinks: Sinks) -> None:
    log = TopicLog(sinks.settings.kafka_bootstrap_servers)
    try:
        ends = {partition: end for partition, (_, end) in log.bounds(ENRICHED_TRADES).items() if end}
    finally:
        log.close()

    def shown() -> dict[int, int]:
        rows = json.loads(sinks.run("connectors", "offsets", "show", NAME, "--json"))
        assert {row["topic"] for row in rows} <= {ENRICHED_TRADES}
        return {row["partition"]: row["offset"] for row in rows if row["offset"]}

    assert ends
    eventually(lambda: shown() == ends, timeout_s=60)


def test_a_file_from_elsewhere_is_planned_and_applied(sinks: Sinks, folder: Path, tmp_path: Path) -> None:
    change(folder, "max.batch.size", "321")
    file = str(folder / f"{NAME}.json")

    (drift,) = json.loads(sinks.run("connectors", "plan", "-f", file, "--json", expected=DriftFound.exit_code))
    (applied,) = json.loads(sinks.run("connectors", "apply", "-f", file, "--json"))
    missing = sinks.run("connectors", "apply", "-f", str(tmp_path / "none.json"), "--json", expected=2)

    assert (drift["name"], drift["action"], applied["action"]) == (NAME, "update", "update")
    assert "No such file" in json.loads(missing)["error"]["message"]
    change(folder, "max.batch.size", "500")
    sinks.run("connectors", "apply", "-f", file)


def test_plugins_and_log_levels(sinks: Sinks) -> None:
    plugins = {row["class"]: row["type"] for row in json.loads(sinks.run("connectors", "plugins", "--json"))}
    assert plugins[files.read()[NAME].config["connector.class"]] == "sink"

    logger = "org.apache.kafka.connect.runtime.WorkerSinkTask"
    assert json.loads(sinks.run("connectors", "logger", logger, "debug", "--json")) == {logger: "DEBUG"}
    assert json.loads(sinks.run("connectors", "logger", "--json"))[logger] == "DEBUG"
    sinks.run("connectors", "logger", logger, "info")
    assert "no level 'loud'" in sinks.run("connectors", "logger", logger, "loud", "--json", expected=2)


def test_a_deleted_connector_is_drift_until_it_is_applied(sinks: Sinks) -> None:
    sinks.run("connectors", "delete", NAME, "--yes")
    assert sinks.states()[NAME]["state"] == "ABSENT"
    sinks.run("connectors", "plan", NAME, expected=DriftFound.exit_code)

    sinks.run("connectors", "apply")
    sinks.drained()


def test_a_connector_without_a_file_is_drift(sinks: Sinks) -> None:
    # A connector without a file may use no secrets (test_rest_guard.py), so its addresses are plain
    # text.
    plain = {
        "value.converter.apicurio.registry.url": sinks.settings.schema_registry_url,
        "connection.uri": sinks.settings.mongodb_uri.get_secret_value(),
    }
    stray = files.read()[NAME].config | {"name": "stray", "errors.deadletterqueue.topic.name": "dlq.mongodb-trades"}
    stray |= plain
    with Worker.of(sinks.settings) as worker:
        worker.put("stray", stray)
        try:
            changes = json.loads(sinks.run("connectors", "plan", "--json", expected=DriftFound.exit_code))
        finally:
            worker.delete("stray")
    assert [one["name"] for one in changes if one["action"] == "unknown"] == ["stray"]


def test_no_secret_is_shown(sinks: Sinks) -> None:
    secrets = [line.split("=", 1)[1] for line in (sinks.home / "secrets.env").read_text().splitlines() if "=" in line]
    shown = sinks.run("connectors", "describe", "cassandra-trades") + sinks.run("connectors", "ls", "--json")

    assert "${secrets:sinks.properties:cassandra.password}" in shown
    assert [secret for secret in secrets if secret in shown] == []
