"""Errors, help, and the commands that need no server."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from common.errors import ConfigurationError, ReconcileFailed, ServiceNotReady, TickhouseError, UnknownName
from common.settings import Settings
from tickhouse.cli import CommandGroup, app
from tickhouse.cli.config import redacted
from tickhouse.cli.options import JsonOption
from tickhouse.cli.output import print_json
from tickhouse.status import doctor
from tickhouse.status.doctor import Finding

runner = CliRunner()


def an_app(error: Exception) -> typer.Typer:
    failing = typer.Typer(cls=CommandGroup)

    @failing.callback()
    def group() -> None: ...

    @failing.command()
    def fail(json: JsonOption = False) -> None:
        raise error

    return failing


@pytest.mark.parametrize("kind", [ConfigurationError, ReconcileFailed])
def test_our_errors_end_with_their_code_and_no_traceback(kind: type[TickhouseError]) -> None:
    result = runner.invoke(an_app(kind("It broke.", safe="Data is.", next_command="repair it")), ["fail"])

    assert result.exit_code == kind.exit_code
    assert result.stdout == ""
    page = f"docs/runbook/{kind.runbook_page}.md"
    assert result.stderr == f"{kind.__name__}: It broke.\nSafe: Data is.\nNext: repair it\nMore: {page}\n"


def test_a_wrong_name_needs_no_page() -> None:
    result = runner.invoke(an_app(UnknownName("There is no BTCUSD; did you mean BTCUSDT?")), ["fail"])

    assert result.stderr == "UnknownName: There is no BTCUSD; did you mean BTCUSDT?\n"


def test_an_error_may_name_a_nearer_page_than_its_class() -> None:
    result = runner.invoke(an_app(ServiceNotReady("The port is taken.", page="port-taken")), ["fail"])

    assert "More: docs/runbook/port-taken.md\n" in result.stderr


def test_with_json_an_error_is_a_document_too() -> None:
    arguments = ["candles", "--market", "sopt", "--symbol", "X", "--from", "2024-01-01", "--to", "2024-01-02", "--json"]

    result = runner.invoke(app, arguments)

    assert result.exit_code == 2
    assert json.loads(result.stdout) == {
        "error": {
            "type": "UnknownName",
            "message": "There is no market 'sopt'. The nearest: spot.",
            "safe": "",
            "next": "",
            "runbook": "docs/runbook/configuration-error.md",
            "exit_code": 2,
        }
    }
    assert result.stderr.startswith("UnknownName: There is no market 'sopt'.")


def test_a_full_disk_is_an_error_of_ours_and_a_document() -> None:
    result = runner.invoke(an_app(OSError(errno.ENOSPC, "No space left on device", "/data/log")), ["fail", "--json"])

    assert result.exit_code == ServiceNotReady.exit_code
    assert "ServiceNotReady: The disk is full: /data/log.\n" in result.stderr
    error = json.loads(result.stdout)["error"]
    assert (error["message"], error["runbook"]) == ("The disk is full: /data/log.", "docs/runbook/disk-almost-full.md")


def test_every_command_that_tells_something_has_json() -> None:
    def without(command: Any, path: str) -> list[str]:
        if getattr(command, "commands", None):
            return [found for name, one in command.commands.items() for found in without(one, f"{path} {name}")]
        return [] if any("--json" in parameter.opts for parameter in command.params) else [path.strip()]

    assert without(typer.main.get_command(app), "") == ["logs show"], "its output is lines of a log"


def test_an_error_after_the_document_writes_no_second_one() -> None:
    failing = typer.Typer(cls=CommandGroup)

    @failing.callback()
    def group() -> None: ...

    @failing.command()
    def fail(json: JsonOption = False) -> None:
        print_json({"ok": False})
        raise ReconcileFailed("A store is wrong.")

    result = runner.invoke(failing, ["fail", "--json"])

    assert result.exit_code == ReconcileFailed.exit_code
    assert json.loads(result.stdout) == {"ok": False}


def test_a_range_that_ends_before_it_starts_is_refused() -> None:
    arguments = ["candles", "--market", "spot", "--symbol", "X", "--from", "2024-01-02", "--to", "2024-01-02"]

    result = runner.invoke(app, arguments)

    assert result.exit_code == 2
    assert "The range is empty: its start 2024-01-02 00:00:00 is not before" in result.stderr


@pytest.mark.parametrize("command", [["-h"], ["candles", "-h"], ["lake", "query", "-h"]])
def test_short_help(command: list[str]) -> None:
    result = runner.invoke(app, command)

    assert result.exit_code == 0
    assert "Usage: " in result.stdout


def test_the_version_is_that_of_the_package() -> None:
    assert runner.invoke(app, ["--version"]).stdout == f"tickhouse {version('tickhouse')}\n"


def test_an_error_that_is_not_ours_is_not_hidden() -> None:
    result = runner.invoke(an_app(ZeroDivisionError("a defect")), ["fail"])

    assert isinstance(result.exception, ZeroDivisionError)


def test_help_imports_nothing_heavy() -> None:
    heavy = ("pydantic", "psycopg", "confluent_kafka", "lakefs", "redis", "httpx", "pyspark", "pandas", "jinja2")
    code = f"import sys, tickhouse.cli; print([name for name in {heavy!r} if name in sys.modules])"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"


def test_commands_of_the_engine_are_there() -> None:
    assert {"up", "down", "status", "doctor", "logs", "config"} <= set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("field", "value", "shown"),
    [
        ("redis_password", "hunter2", "(set)"),
        ("redis_password", "", "(not set)"),
        ("database_url", "postgresql://me:hunter2@db:1/x", "postgresql://me:***@db:1/x"),
        ("redis_url", "redis://:hunter2@cache:1/0", "redis://:***@cache:1/0"),
        ("lake_repository", "lake", "lake"),
    ],
)
def test_secrets_are_redacted(field: str, value: str, shown: str) -> None:
    assert redacted(Settings(**{field: value}), field) == shown


def test_config_show_lists_where_a_value_comes_from(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TICKHOUSE_HOME", str(tmp_path))
    monkeypatch.setenv("LAKE_REPOSITORY", "elsewhere")
    (tmp_path / "secrets.env").write_text("REDIS_PASSWORD=hunter2\n")

    result = runner.invoke(app, ["config", "show", "--json"])

    rows = {row["setting"]: row for row in json.loads(result.stdout)["settings"]}
    assert rows["LAKE_REPOSITORY"] == {"setting": "LAKE_REPOSITORY", "value": "elsewhere", "origin": "environment"}
    assert rows["REDIS_PASSWORD"]["origin"] == "secrets file"
    assert rows["CONNECT_URL"]["origin"] == "default"
    assert "hunter2" not in result.stdout


def test_logs_of_an_unknown_service_lists_the_known_ones() -> None:
    result = runner.invoke(app, ["logs", "kafak"])

    assert result.exit_code == ConfigurationError.exit_code
    assert "'kafka'" in result.stderr


@pytest.mark.parametrize(("level", "code"), [("ok", 0), ("warning", 0), ("error", 1)])
def test_doctor_fails_on_an_error_only(monkeypatch: pytest.MonkeyPatch, level: doctor.Level, code: int) -> None:
    monkeypatch.setattr(
        doctor, "examine", lambda: [Finding(level, "disk", "full", "free some", "docs/runbook/disk-almost-full.md")]
    )

    result = runner.invoke(app, ["doctor", "--json"])

    assert result.exit_code == code
    assert json.loads(result.stdout) == {
        "ok": level != "error",
        "findings": [
            {
                "level": level,
                "check": "disk",
                "seen": "full",
                "mend": "free some",
                "runbook": "docs/runbook/disk-almost-full.md",
            }
        ],
    }
