"""The index of the runbook: each page, what it is about, and the test that follows it.

`.venv/bin/python -m tests.runbook.index > docs/runbook/README.md` writes it;
tests/unit/docs/test_runbook.py compares.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from common import errors
from common.settings import REPO
from tests.runbook.pages import page_names, read_page
from tickhouse.alerts.rules import FILE as RULES_FILE
from tickhouse.alerts.rules import PAGES as RULE_PAGES
from tickhouse.alerts.rules import load_rules
from tickhouse.status.doctor import checks

# Pages whose fault no test can cause here, and why.
NOT_TESTED = {
    "memory-almost-used": "filling the memory would end other programs of this machine",
    "python-packages": "a changed package would disturb the tests that run at the same time",
    "source-build-failed": "a repair compiles for up to half an hour",
}

HEAD = """# Runbook

Generated: `.venv/bin/python -m tests.runbook.index > docs/runbook/README.md`. Do not edit.

Find the page of an alert, of an error (its class, and the exit code of the command) or of a check
of `tickhouse doctor`. The program names the page as well: errors after *More:*, `doctor` and
`tickhouse alerts list` after *More about*, and each alert under `runbook`. A word in capitals in a
command stands for what the alert, the error or `doctor` names.

The last column is the test that causes the fault, runs the commands of the page as they stand
there, and checks that all is well again. *long*: it runs with `make test-long`.
"""


def owners() -> dict[str, list[str]]:
    """Return what each page is about: alerts, errors with their exit codes, checks of `doctor`."""
    found: dict[str, list[str]] = {}
    for page, owner in [*_alerts(), *_rules(), *_errors(), *_checks()]:
        found.setdefault(page, []).append(owner)
    return found


def metric_alerts() -> list[dict[str, Any]]:
    """Return every alert rule of Prometheus."""
    groups = [
        group
        for path in sorted((REPO / "observe" / "prometheus" / "rules").glob("*.yaml"))
        for group in yaml.safe_load(path.read_text())["groups"]
    ]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


def error_classes(base: type[errors.TickhouseError] = errors.TickhouseError) -> list[type[errors.TickhouseError]]:
    """Return every class of the error tree of `common/errors.py`."""
    ours = [one for one in base.__subclasses__() if one.__module__ == errors.__name__]
    return [base, *(error for one in ours for error in error_classes(one))]


def _alerts() -> Iterator[tuple[str, str]]:
    for rule in metric_alerts():
        yield Path(rule["annotations"]["runbook_url"]).stem, f"alert {rule['alert']} ({rule['labels']['severity']})"


def _rules() -> Iterator[tuple[str, str]]:
    for rule in load_rules(RULES_FILE).values():
        yield RULE_PAGES[rule.kind], f"alert `{rule.id}` ({rule.severity})"


def _errors() -> Iterator[tuple[str, str]]:
    for error in error_classes():
        yield error.runbook_page, f"error `{error.__name__}` ({error.exit_code})"


def _checks() -> Iterator[tuple[str, str]]:
    for check in checks():
        yield from ((page, f"doctor: {check.name}") for page in check.pages)


class FaultTest(NamedTuple):
    """A test that follows a page: its file below `tests/`, and whether it has the mark `long`."""

    file: str
    is_long: bool

    def __str__(self) -> str:
        return f"`{self.file}`{', *long*' if self.is_long else ''}"


def fault_tests() -> dict[str, list[FaultTest]]:
    """Return the tests that follow each page, from their mark `runbook`."""
    found: dict[str, list[FaultTest]] = {}
    for path in sorted((REPO / "tests").rglob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        if "mark.runbook(" in text:
            for page, is_long in _marked(ast.parse(text)):
                found.setdefault(page, []).append(FaultTest(path.relative_to(REPO / "tests").as_posix(), is_long))
    return found


def _marked(module: ast.Module) -> Iterator[tuple[str, bool]]:
    """Yield the page of each mark, and whether the test or its module is long."""
    whole = [ast.unparse(node) for node in module.body if isinstance(node, ast.Assign)]
    is_long = any(text.startswith("pytestmark") and "mark.long" in text for text in whole)
    for node in module.body:
        if isinstance(node, ast.FunctionDef):
            marks = [ast.unparse(mark) for mark in node.decorator_list]
            for mark in node.decorator_list:
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.runbook":
                    yield ast.literal_eval(mark.args[0]), is_long or "pytest.mark.long" in marks


def render() -> str:
    """Return the page."""
    about, tests = owners(), fault_tests()
    lines = ["| page | about | fault test |", "|---|---|---|"]
    for name in page_names():
        proof = "<br>".join(map(str, tests.get(name, [])))
        proof = proof or f"none: {NOT_TESTED.get(name, 'missing')}"
        lines.append(f"| [{read_page(name).title}]({name}.md) | {'<br>'.join(about.get(name, []))} | {proof} |")
    return f"{HEAD}\n" + "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(render())
