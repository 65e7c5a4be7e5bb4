"""The systemd unit: what it starts and stops, its limits, no secret, and that systemd takes it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest
from typer.testing import CliRunner

from common.errors import ConfigurationError
from common.settings import REPO
from stack.engine.lifecycle import catalog
from tickhouse.cli import app
from tickhouse.systemd import installation
from tickhouse.systemd.installation import UnitPlace
from tickhouse.systemd.unit import MARK, NAME, UnitPlan, stop_seconds

runner = CliRunner()
ANALYZE = shutil.which("systemd-analyze")


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep units and configuration in the folder of the test, as on a machine without systemd."""
    monkeypatch.setenv("TICKHOUSE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(installation, "SYSTEM_FOLDER", tmp_path / "system")
    monkeypatch.setattr(installation, "BOOTED", tmp_path / "no-systemd")
    return tmp_path


def unit(*, is_system: bool = False, profile: str = "core") -> str:
    return installation.plan(UnitPlace(is_system), profile).text()


def values(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for line in text.splitlines():
        name, is_value, value = line.partition("=")
        if is_value and not line.startswith("#"):
            found[name].append(value)
    return found


@pytest.mark.skipif(ANALYZE is None, reason="there is no systemd-analyze on this machine")
@pytest.mark.parametrize("is_system", [True, False])
def test_systemd_accepts_the_unit(folders: Path, is_system: bool) -> None:
    text = installation.plan(UnitPlace(is_system), "full", 8000).text()
    path = folders / NAME
    path.write_text(text)

    manager = [] if is_system else ["--user"]
    env = {**os.environ, "XDG_RUNTIME_DIR": str(folders)}
    verified = subprocess.run(
        [str(ANALYZE), "verify", *manager, "--man=no", str(path)], capture_output=True, text=True, check=False, env=env
    )
    broken = folders / "broken.service"
    broken.write_text(text.replace("KillMode=mixed", "KillMode=gently"))
    refused = subprocess.run(
        [str(ANALYZE), "verify", *manager, "--man=no", str(broken)],
        capture_output=True,
        text=True,
        check=False,
        env=env,
    )

    assert [line for line in verified.stderr.splitlines() if NAME in line] == []
    assert "gently" in refused.stderr  # so it reads the file


def test_a_stop_is_a_clean_down_and_a_crash_starts_again(folders: Path) -> None:
    found = values(unit())

    tickhouse = f'"{installation.plan(UnitPlace(False), "core").command}"'
    assert found["Type"] == ["forking"]
    assert found["PIDFile"] == [f"{folders}/home/run/supervisord.pid"]
    assert found["ExecStartPre"] == found["ExecStop"] == [f"{tickhouse} down"]
    assert found["ExecStart"] == [f"{tickhouse} up --profile core"]
    assert (found["Restart"], found["KillMode"], found["OOMPolicy"]) == (["on-failure"], ["mixed"], ["continue"])
    assert {"LimitNOFILE", "TasksMax", "LimitCORE", "NoNewPrivileges"} <= set(found)


def test_a_stop_has_the_time_of_all_services_of_the_profile(folders: Path) -> None:
    known = catalog()
    core = [service for service in known.values() if "core" in service.profiles]

    assert int(values(unit())["TimeoutStopSec"][0]) >= sum(service.stop.wait_s for service in core) > 300
    assert stop_seconds(known.values()) == int(values(unit(profile="full"))["TimeoutStopSec"][0])


def test_only_a_system_unit_waits_for_the_network_and_names_a_user(folders: Path) -> None:
    own, system = values(unit()), values(unit(is_system=True))

    assert system["After"] == ["network-online.target"]
    assert "After" not in own
    assert "User" not in own
    assert system["User"][0]
    assert (own["WantedBy"], system["WantedBy"]) == (["default.target"], ["multi-user.target"])


def test_no_setting_that_may_hold_a_secret_is_in_the_unit(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:hunter22@db.example.org/tickhouse")
    monkeypatch.setenv("REDIS_PASSWORD", "hunter23")
    monkeypatch.setenv("TICKHOUSE_PORT_BASE", "31000")

    shown = runner.invoke(app, ["service", "install", "--dry-run"])

    assert shown.exit_code == 0
    assert "hunter" not in shown.output
    assert "DATABASE_URL, REDIS_PASSWORD" in shown.stderr
    assert '"TICKHOUSE_PORT_BASE=31000"' in values(shown.stdout)["Environment"]
    assert values(shown.stdout)["EnvironmentFile"] == [f"-{folders}/config/tickhouse/environment"]
    assert not (folders / "config").exists()


def test_paths_keep_their_characters(folders: Path) -> None:
    plan = UnitPlan(
        Path('/a b/100%/$x/"q"/tickhouse'), Path("/home/50%"), REPO, "core", {"A": "b c%d"}, folders / "env", 60
    )

    found = values(plan.text())
    assert found["ExecStart"] == ['"/a b/100%%/$$x/\\"q\\"/tickhouse" up --profile core']
    assert found["PIDFile"] == ["/home/50%%/run/supervisord.pid"]
    assert found["Environment"] == ['"A=b c%%d"']


@pytest.mark.parametrize("system", [[], ["--system"]])
def test_install_status_and_uninstall_without_systemd(folders: Path, system: list[str]) -> None:
    path = UnitPlace(bool(system)).path
    before = runner.invoke(app, ["service", "status", *system])
    installed = runner.invoke(app, ["service", "install", *system, "--profile", "full"])
    again = runner.invoke(app, ["service", "install", *system, "--profile", "full"])
    status = runner.invoke(app, ["service", "status", *system])
    text = path.read_text()
    removed = runner.invoke(app, ["service", "uninstall", *system])

    assert before.stdout == f"not installed: there is no {path}\n"
    assert installed.exit_code == again.exit_code == removed.exit_code == 0
    assert "systemd does not run this machine" in installed.stderr
    manager = "systemctl" if system else "systemctl --user"
    for command in (f"{manager} daemon-reload", f"{manager} enable {NAME}", f"{manager} start {NAME}"):
        assert f"  {command}\n" in installed.stdout
    assert ("loginctl enable-linger" in installed.stdout) == (not system)
    assert text.startswith(MARK)
    assert "up --profile full" in text
    assert f"{path}: up to date" in status.stdout
    assert "nothing starts it" in status.stdout
    assert not path.exists()


def test_a_changed_unit_is_told_and_a_foreign_one_is_left_alone(folders: Path) -> None:
    runner.invoke(app, ["service", "install"])
    path = UnitPlace(False).path
    path.write_text(path.read_text().replace("RestartSec=15", "RestartSec=1"))
    assert "differs from what install would write now" in runner.invoke(app, ["service", "status"]).stdout

    path.write_text("[Service]\nExecStart=/bin/true\n")
    for command in ("install", "uninstall"):
        refused = runner.invoke(app, ["service", command])
        assert refused.exit_code == ConfigurationError.exit_code
        assert "was not written by tickhouse" in refused.stderr
    assert path.read_text() == "[Service]\nExecStart=/bin/true\n"
