"""What `tickhouse doctor` finds, and the command that it names for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import PrerequisiteMissing
from common.settings import ports
from stack.engine.source_build import BuildState, SourceBuild, State
from tickhouse.status import doctor


def test_a_foreign_process_on_our_port_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TICKHOUSE_HOME", str(tmp_path))
    monkeypatch.setattr(doctor, "listeners", lambda: {ports()["redis"]: 1})

    (finding,) = doctor._port_use()

    assert finding.level == "error"
    assert finding.check == f"port {ports()['redis']}"
    assert "pid 1" in finding.seen
    assert "TICKHOUSE_PORT_BASE" in finding.mend


def test_secrets_that_others_can_read_are_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TICKHOUSE_HOME", str(tmp_path))
    path = tmp_path / "secrets.env"
    path.touch(mode=0o600)
    assert [finding.level for finding in doctor._secrets()] == ["ok"]

    path.chmod(0o640)

    (finding,) = doctor._secrets()
    assert (finding.level, finding.mend) == ("error", f"chmod 600 {path}")


def test_the_package_of_a_missing_program_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    fixes = {finding.check: finding.mend for finding in doctor._programs()}

    assert fixes["mvn"] == "apt-get install maven"
    assert fixes["java"] == "apt-get install openjdk-17-jdk-headless"


@pytest.mark.parametrize(
    ("state", "detail", "level"),
    [
        ("built", "/cache/influxd", "ok"),
        ("building", "43 % built after 9 min", "ok"),
        ("failed", "no such module\nmore", "warning"),
    ],
)
def test_a_build_in_the_background_tells_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, state: State, detail: str, level: str
) -> None:
    monkeypatch.setattr(SourceBuild, "state", lambda _: BuildState(state, detail))
    monkeypatch.setattr(SourceBuild, "require_tools", lambda _: None)

    (found,) = doctor._builds()

    assert (found.level, found.check) == (level, "build of influxd")
    assert found.seen == f"{state}: {detail.splitlines()[0]}"
    assert bool(found.mend) == (state == "failed")


def test_a_build_without_its_tools_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: SourceBuild) -> None:
        raise PrerequisiteMissing("no cargo", next_command="apt-get install cargo-web")

    monkeypatch.setattr(SourceBuild, "state", lambda _: BuildState("not started", ""))
    monkeypatch.setattr(SourceBuild, "require_tools", missing)

    (found,) = doctor._builds()

    assert (found.level, found.mend) == ("ok", "apt-get install cargo-web")


def test_a_setting_that_does_not_parse_is_found_and_stops_no_other_check(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TICKHOUSE_HOME", str(tmp_path))
    monkeypatch.setenv("NOTIFY_SMTP_PORT", "many")

    found = {finding.check: finding for finding in doctor.examine()}

    assert (found["settings"].level, found["settings"].runbook) == ("error", "docs/runbook/configuration-error.md")
    assert "notify_smtp_port" in found["settings"].seen
    assert found["leftovers"].level == "ok"
    assert [one.check for one in found.values() if (one.level == "ok") is bool(one.runbook)] == []
