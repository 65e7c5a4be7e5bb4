"""Names of metrics in rules, dashboards' reference and code agree."""

from __future__ import annotations

import re

import yaml

from common.settings import PORTS_FILE, REPO
from tickhouse.metrics.figures import KINDS, PREFIX
from tickhouse.metrics.targets import JOBS, SPARK

REFERENCE = REPO / "docs" / "reference" / "metrics.md"
RULES = sorted((REPO / "observe" / "prometheus" / "rules").glob("*.yaml"))
JMX = sorted((REPO / "observe" / "jmx").glob("*.yaml"))


def exported() -> set[str]:
    return {f"{PREFIX}{name}{'_total' if kind.is_counter else ''}" for name, kind in KINDS.items()}


def test_the_reference_lists_every_metric_of_the_stores_with_its_labels() -> None:
    rows = dict(re.findall(r"^\| `(tickhouse_\w+)` \| ([^|]*) \|", REFERENCE.read_text(), re.MULTILINE))

    assert exported() <= set(rows)
    labels = {name: tuple(re.findall(r"`(\w+)`", rows[name])) for name in exported()}
    assert labels == {
        f"{PREFIX}{name}{'_total' if kind.is_counter else ''}": kind.labels for name, kind in KINDS.items()
    }


def test_the_reference_lists_every_job_recording_rule_and_jmx_metric() -> None:
    text = REFERENCE.read_text()
    recorded = {
        rule["record"]
        for path in RULES
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
        if "record" in rule
    }
    jmx = {rule["name"] for path in JMX for rule in yaml.safe_load(path.read_text())["rules"]}

    assert recorded
    assert jmx
    missing = [name for name in recorded | jmx | {job.job for job in (*JOBS, *SPARK)} if f"`{name}`" not in text]
    assert missing == []


def test_rules_use_metrics_that_are_exported() -> None:
    ours = set(re.findall(r"tickhouse_\w+", " ".join(path.read_text() for path in RULES)))
    others = ("tickhouse_producer_", "tickhouse_api_", "tickhouse_notification_delay_")

    used = {name for name in ours if not name.startswith(others)}
    assert used - exported() <= {name.removesuffix("_total") for name in exported()}


def test_every_job_has_a_port() -> None:
    offsets = yaml.safe_load(PORTS_FILE.read_text())["offsets"]

    assert {job.port for job in (*JOBS, *SPARK)} <= set(offsets)
