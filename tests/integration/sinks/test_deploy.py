"""`tickhouse connectors` against a real worker."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from common.clients.connect import Worker
from common.errors import ConfigurationError, DriftFound
from common.settings import REPO
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
