"""Follow a page of the runbook after its fault was caused: run its commands as they stand there.

A fault test has the mark `runbook("<page>")` and the fixture `followed`. It causes the fault, calls
`check` and `repair`, and asserts that all is well again. The fixture fails a test that leaves out a
command of its page, so that page and test cannot drift.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from typer.testing import CliRunner

from common.settings import REPO
from tests.runbook.pages import RunbookPage, read_page
from tickhouse.cli import app

# A word in capitals stands for a value that the alert, `doctor` or the error names.
PLACEHOLDER = re.compile(r"(?<![\w-])[A-Z][A-Z_]+\b(?!=)")  # no signal, as in `kill -HUP PID`
# `logs` replaces the process by `tail`, so it needs a process of its own.
OWN_PROCESS = ("logs",)


@dataclass
class FollowedPage:
    """A page, and which of its commands were run.

    Attributes:
        page: The page.
        values: What its placeholders stand for, for example `redis` for `SERVICE`.
        folder: Where its commands run.
    """

    page: RunbookPage
    values: dict[str, str] = field(default_factory=dict)
    folder: Path = REPO
    _left: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self._left = [*self.page.commands("Check"), *self.page.commands("Repair")]

    @property
    def path(self) -> str:
        """Return the path as `doctor`, the errors and the alerts name it."""
        return f"docs/runbook/{self.page.name}.md"

    @property
    def left(self) -> list[str]:
        """Return the commands that were not run."""
        return [*self._left]

    def check(self, *, codes: Mapping[str, int] | None = None) -> str:
        """Run the commands of the section Check, and return what they printed.

        Args:
            codes: The exit codes of commands that say by it what they found, by how the command
                begins; 0 for the others.
        """
        return self._run("Check", codes or {})

    def repair(self, *, codes: Mapping[str, int] | None = None) -> str:
        """Run the commands of the section Repair, and return what they printed."""
        return self._run("Repair", codes or {})

    def _run(self, section: str, codes: Mapping[str, int]) -> str:
        printed = []
        for line in self.page.commands(section):
            code, output = run(self._filled(line), self.folder)
            wanted = next((one for start, one in codes.items() if line.startswith(start)), 0)
            assert code == wanted, f"{self.page.name}: {line}: expected {wanted}, was {code}\n{output[-3000:]}"
            printed.append(output)
            if line in self._left:
                self._left.remove(line)
        return "\n".join(printed)

    def _filled(self, line: str) -> str:
        plain = re.sub(r"\$\{.*?\}", "", line)
        missing = {name for name in PLACEHOLDER.findall(plain)} - self.values.keys()
        assert not missing, f"{self.page.name}: {line}: no value for {sorted(missing)}"
        for name, value in self.values.items():
            line = re.sub(rf"(?<![\w$}}{{]){name}\b", lambda _, value=value: value, line)
        return line


def run(line: str, folder: Path) -> tuple[int, str]:
    """Run one command line and return its exit code and output.

    A command of Tickhouse runs in this process, which spares the start of an interpreter, except
    where the shell or the command itself needs a process. This process stands for the reader's
    shell as well: `unset` changes its environment.
    """
    words = line.split()
    is_plain = words[0] == "tickhouse" and words[1] not in OWN_PROCESS and not set("$|&;<>'\"") & set(line)
    if words[0] == "unset":
        os.environ.pop(words[1], None)
        return 0, ""
    if is_plain:
        done = CliRunner(env={"COLUMNS": "200"}).invoke(app, words[1:])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.exit_code, done.output
    path = f"{sys.prefix}/bin:{os.environ['PATH']}"
    result = subprocess.run(
        ["bash", "-c", line], cwd=folder, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False
    )
    return result.returncode, result.stdout + result.stderr


@pytest.fixture
def followed(request: pytest.FixtureRequest) -> Iterator[FollowedPage]:
    """Yield the page that the test's mark names; the test must run all of its commands."""
    mark = request.node.get_closest_marker("runbook")
    assert mark is not None, "a test that follows a page has the mark runbook"
    found = FollowedPage(read_page(mark.args[0]))
    failures = request.session.testsfailed
    yield found
    if request.session.testsfailed == failures:
        assert found.left == [], f"{found.page.name}: commands that its test does not run"
