from __future__ import annotations

import subprocess
import sys

from typer.testing import CliRunner

from common.settings import REPO
from tickhouse.cli import app
from tickhouse.cli.reference import commands, render

PAGE = REPO / "docs" / "reference" / "cli.md"
REGENERATE = "python -m tickhouse.cli.reference > docs/reference/cli.md"


def test_page_is_what_the_program_says() -> None:
    assert PAGE.read_text() == render(app), f"Run: .venv/bin/{REGENERATE}"


def test_documented_way_to_regenerate_writes_the_page() -> None:
    command = [sys.executable, "-m", "tickhouse.cli.reference"]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=True)

    assert done.stdout == render(app)
    assert REGENERATE in done.stdout
    assert done.stderr == ""


def test_every_command_and_option_of_the_help_is_there() -> None:
    from typer.main import get_command

    page, runner = PAGE.read_text(), CliRunner()
    root = get_command(app)
    for path, _ in commands(root, ""):
        help_text = runner.invoke(app, [*path.split(), "--help"], env={"COLUMNS": "200", "TERM": "dumb"}).output
        section = page.split(f"## `tickhouse{path}`\n")[1].split("\n## ")[0]
        options = {word.strip(",") for word in help_text.split() if word.startswith("--")} - {"--help"}
        assert [option for option in options if option.rstrip(".,") not in section] == [], path
