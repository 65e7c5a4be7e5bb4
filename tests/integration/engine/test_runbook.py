"""Faults of the installation and of single services, repaired by the pages of the runbook."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import redis
from typer.testing import CliRunner

from common.errors import LeaseHeld
from common.settings import load_settings, ports
from stack.engine import service_start, supervisor
from stack.engine.context import MARKER
from stack.engine.lifecycle import up
from stack.engine.processes import has_ended
from stack.log_shipper.setup import REFUSED
from tests.eventually import eventually
from tests.faults.processes import answers
from tests.homes import own_home
from tests.runbook.following import FollowedPage
from tickhouse.cli import app
from tickhouse.status.doctor import PROGRAMS
from tickhouse.stream.lease import stopped_driver

pytestmark = pytest.mark.integration

FAILS = {"tickhouse doctor": 1}
LISTENER = """
import signal, socket, sys
listening = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("up", flush=True); signal.pause()
"""
# Holds the lease as a driver does, and does not end when it is asked to.
HOLDER = """
import fcntl, json, os, pathlib, signal, sys
folder = pathlib.Path(sys.argv[1]); folder.mkdir(parents=True, exist_ok=True)
lock = (folder / "lease.lock").open("ab+"); fcntl.lockf(lock, fcntl.LOCK_EX)
(folder / "lease.json").write_text(json.dumps({"pid": os.getpid()}))
print("up", flush=True); signal.pause()
"""


@pytest.fixture(scope="module")
def own() -> Iterator[Path]:
    with own_home() as made:
        yield made


@pytest.fixture
def home(own: Path) -> Path:
    """Yield a home in which Redis runs."""
    up(services=["redis"])
    return own


@contextmanager
def running(code: str, *arguments: object, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Run a program that prints a line once it is at work."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        yield process
        process.kill()


@pytest.mark.runbook("secrets-readable")
def test_secrets_that_others_can_read(home: Path, followed: FollowedPage) -> None:
    (home / "secrets.env").chmod(0o644)

    found = followed.check(codes=FAILS)
    repaired = followed.repair()

    assert f"More about secrets: {followed.path}" in found
    assert "-rw-r--r--" in found
    assert followed.path not in repaired


@pytest.mark.runbook("port-taken")
def test_a_port_that_another_program_has(home: Path, followed: FollowedPage) -> None:
    supervisor.stop(["redis"])
    with running(LISTENER, ports()["redis"]) as stranger:
        refused = CliRunner().invoke(app, ["up", "--service", "redis"])
        assert refused.exit_code == 21
        assert f"More: {followed.path}" in refused.stderr
        followed.values = {"PID": str(stranger.pid), "SERVICE": "redis"}

        found = followed.check(codes=FAILS)
        followed.repair()

    assert f"More about port {ports()['redis']}: {followed.path}" in found
    assert f"pid {stranger.pid}" in " ".join(found.split())
    assert answers("redis")


@pytest.mark.runbook("service-not-ready")
def test_a_service_that_hangs(home: Path, followed: FollowedPage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_start, "UNRESPONSIVE_S", 1.0)
    hanging = supervisor.state("redis").pid
    with closing(redis.Redis.from_url(load_settings().redis_dsn())) as client:
        client.execute_command("CLIENT", "PAUSE", 600_000, "ALL")
    followed.values = {"SERVICE": "redis"}

    found = followed.check(codes=FAILS)
    followed.repair()

    assert f"More about redis: {followed.path}" in found
    assert answers("redis")
    assert supervisor.state("redis").pid != hanging


@pytest.mark.runbook("command-failed")
def test_a_command_that_ends_with_1(home: Path, followed: FollowedPage) -> None:
    supervisor.stop(["redis"])
    (home / "conf" / "redis" / "redis.conf").unlink()
    supervisor.start("redis")
    eventually(lambda: supervisor.state("redis").state == "FATAL")
    followed.values = {"SERVICE": "redis"}

    found = followed.check(codes=FAILS)
    followed.repair()

    assert "FATAL" in found
    assert CliRunner().invoke(app, ["doctor"]).exit_code == 0


@pytest.mark.runbook("leftover-processes")
def test_processes_whose_supervisor_was_killed(home: Path, followed: FollowedPage) -> None:
    supervisord, orphan = supervisor.supervisor_pid(), supervisor.state("redis").pid
    assert supervisord is not None
    os.kill(supervisord, signal.SIGKILL)
    eventually(lambda: has_ended(supervisord))

    found = followed.check(codes=FAILS)
    repaired = followed.repair()

    assert f"More about leftovers: {followed.path}" in found
    assert has_ended(orphan)
    assert followed.path not in repaired


@pytest.mark.runbook("lease-held")
def test_a_driver_that_outlived_its_supervisor(home: Path, followed: FollowedPage) -> None:
    stream = home / "stream"
    with running(HOLDER, stream, **{MARKER: str(home)}) as holder:
        with pytest.raises(LeaseHeld) as refused, stopped_driver(stream, wait_s=0.5):
            pass
        assert refused.value.runbook == followed.path

        found = followed.check(codes=FAILS)
        followed.repair()

        assert json.dumps({"pid": holder.pid}) in found
        assert "More about leftovers" in found
        assert has_ended(holder.pid)
    with stopped_driver(stream, wait_s=0.5) as had_driver:
        assert not had_driver


@pytest.mark.runbook("log-messages-refused")
def test_log_messages_that_elasticsearch_refused(home: Path, followed: FollowedPage) -> None:
    (home / REFUSED).mkdir(exist_ok=True)
    (home / REFUSED / "refused.jsonl").write_text('{"error": "mapper_parsing_exception"}\n')

    found = followed.check()
    repaired = followed.repair()

    assert f"More about logs: {followed.path}" in found
    assert "mapper_parsing_exception" in found
    assert followed.path not in repaired


@pytest.mark.runbook("configuration-error")
def test_a_setting_that_does_not_parse(home: Path, followed: FollowedPage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SMTP_PORT", "many")
    refused = CliRunner().invoke(app, ["config", "show"])
    assert refused.exit_code == 2
    assert f"More: {followed.path}" in refused.stderr
    followed.values = {"SETTING": "NOTIFY_SMTP_PORT"}

    found = followed.check(codes=FAILS)
    followed.repair()

    assert f"More about settings: {followed.path}" in found
    assert "NOTIFY_SMTP_PORT=many" in found


# It installs maven as far as `doctor` sees it: the program is on PATH.
APT_GET = """#!/bin/bash
for package in "${@:2}"; do [ "$package" = maven ] && ln -s %s "${0%%/*}/mvn"; done; true
"""


@pytest.mark.runbook("prerequisite-missing")
def test_a_program_that_is_not_installed(
    home: Path, followed: FollowedPage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Only apt-get is a look-alike: a test must not change the packages of the machine."""
    maven = shutil.which("mvn")
    for program in {"bash", "ln", *PROGRAMS} - {"mvn"}:
        (tmp_path / program).symlink_to(str(shutil.which(program)))
    (tmp_path / "apt-get").write_text(APT_GET % maven)
    (tmp_path / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    found = followed.check(codes=FAILS)
    repaired = followed.repair()

    assert f"More about mvn: {followed.path}" in found
    assert "More about mvn" not in repaired
