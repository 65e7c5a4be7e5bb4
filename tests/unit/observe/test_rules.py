"""The alert rules: each has its page, a test in which it rings and one in which it stays quiet."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from common.settings import REPO
from stack.engine.debian_packages import package_folder
from tickhouse.alerts.rules import SEVERITIES

OBSERVE = REPO / "observe" / "prometheus"
RULES, TESTS = sorted(OBSERVE.glob("rules/*.yaml")), sorted(OBSERVE.glob("tests/*.yaml"))
PINS = REPO / "stack" / "prometheus" / "packages.yaml"
RUNBOOK = REPO / "docs" / "runbook"


def alert_rules() -> Iterator[dict[str, Any]]:
    for path in RULES:
        for group in yaml.safe_load(path.read_text())["groups"]:
            yield from (rule for rule in group["rules"] if "alert" in rule)


ALERTS = {rule["alert"]: rule for rule in alert_rules()}


def page(alert: str) -> Path:
    return RUNBOOK / f"{re.sub(r'(?<!^)(?=[A-Z])', '-', alert).lower()}.md"


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = package_folder(PINS) / "usr" / "bin" / "promtool"
    if not program.exists():
        pytest.skip("Prometheus is not unpacked here: tickhouse up --service prometheus")
    return subprocess.run([str(program), *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_alerts_ring_and_stay_quiet(path: Path) -> None:
    done = promtool("test", "rules", str(path))

    assert done.returncode == 0, done.stdout + done.stderr


def test_rules_are_valid() -> None:
    done = promtool("check", "rules", *map(str, RULES))

    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_test_in_which_it_rings_and_one_in_which_it_does_not() -> None:
    rings: set[str] = set()
    quiet: set[str] = set()
    for path in TESTS:
        for test in yaml.safe_load(path.read_text())["tests"]:
            for one in test["alert_rule_test"]:
                (rings if one["exp_alerts"] else quiet).add(one["alertname"])

    assert rings == quiet == set(ALERTS)


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_says_how_bad_it_is_and_where_its_page_is(alert: str) -> None:
    rule = ALERTS[alert]

    assert rule["labels"]["severity"] in SEVERITIES
    assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
    assert rule["annotations"]["runbook_url"] == str(page(alert).relative_to(REPO))


@pytest.mark.parametrize("alert", ALERTS)
def test_the_page_of_an_alert_has_its_name(alert: str) -> None:
    assert page(alert).read_text().startswith(f"# {alert}\n")


def test_rules_of_an_alert_do_not_repeat_those_of_the_watcher() -> None:
    # Gaps, lags, failed audits and failed runs ring by tickhouse/alerts/rules.yaml already.
    text = " ".join(rule["expr"] for rule in ALERTS.values())

    assert [name for name in ("gaps_", "audit_passed", "dag_last_run_failed") if name in text] == []
