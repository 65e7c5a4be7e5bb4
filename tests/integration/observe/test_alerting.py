from __future__ import annotations

import os
import signal
import uuid
from typing import Any

import httpx
import pytest

from common.settings import ports
from stack.engine import supervisor
from tests.integration.observe.conftest import Observed
from tests.runbook.following import FollowedPage
from tickhouse.alerts.log import recent
from tickhouse.metrics.targets import targets

pytestmark = pytest.mark.integration


def test_every_target_is_up(observed: Observed) -> None:
    wanted = {target["labels"]["job"] for target in targets()}
    assert wanted >= {
        "kafka",
        "postgres",
        "redis",
        "rabbitmq",
        "node",
        "lake_gate",
        "api",
        "alert_watcher",
        "store_metrics",
    }

    found = observed.awaited(
        lambda: (up := observed.values("up", "job")) and up.keys() == wanted and min(up.values()) and up
    )

    assert found == dict.fromkeys(wanted, 1)


def test_the_collector_reads_every_store(observed: Observed) -> None:
    stores = {"kafka", "postgres", "redis", "lakefs", "rabbitmq"}

    found = observed.awaited(
        lambda: (
            (up := observed.values("tickhouse_store_up", "store")) and up.keys() == stores and min(up.values()) and up
        )
    )

    assert found == dict.fromkeys(stores, 1)
    assert observed.values("tickhouse_dead_letters", "topic").keys() >= {"dlq.producer", "dlq.spark"}
    assert observed.query("tickhouse:gaps_open_ids:sum")
    assert observed.values("tickhouse_lake_commit_age_seconds", "branch").keys() == {"ingest", "main"}


@pytest.mark.parametrize(
    "name",
    [
        *("kafka_log_size_bytes", "kafka_offline_partitions", "jvm_memory_used_bytes", "pg_up", "redis_up"),
        *("pg_database_size_bytes", "node_cpu_seconds_total", "rabbitmq_queue_messages_ready"),
        *("tickhouse_program_memory_bytes", "node:memory_available:ratio"),
    ],
)
def test_the_names_of_the_reference_exist(observed: Observed, name: str) -> None:
    assert observed.awaited(lambda: observed.query(name))


def test_rules_are_loaded_and_evaluated(observed: Observed) -> None:
    address = f"http://127.0.0.1:{ports()['prometheus']}/api/v1/rules"

    def rules() -> list[dict[str, Any]]:
        groups = httpx.get(address, trust_env=False).raise_for_status().json()["data"]["groups"]
        found = [rule for group in groups for rule in group["rules"]]
        return found if all(rule["health"] == "ok" for rule in found) else []

    assert len(observed.awaited(rules)) > 20


@pytest.mark.runbook("target-down")
def test_an_exporter_that_stops_or_hangs_is_told_and_so_is_its_return(
    observed: Observed, followed: FollowedPage
) -> None:
    followed.values = {"SERVICE": "exporters"}

    def told(rule: str, about: str, messages: int) -> list[dict[str, Any]]:
        found = observed.notified(rule, about)
        return found if len(found) == messages else []

    observed.awaited(lambda: [observed.values("up", "job").get(job) for job in ("redis", "postgres")] == [1, 1])

    supervisor.stop(["redis_exporter"])  # as a program that supervisord has given up
    hanging = supervisor.states()["postgres_exporter"].pid
    followed.values["PID"] = str(hanging)
    os.kill(hanging, signal.SIGSTOP)
    try:
        (stopped,) = observed.awaited(lambda: told("ProgramNotRunning", "program=redis_exporter", 1))
        (hangs,) = observed.awaited(lambda: told("TargetDown", "job=postgres", 1))
        followed.check()
    finally:
        supervisor.start("redis_exporter")
        followed.repair()
    first, started = observed.awaited(lambda: told("ProgramNotRunning", "program=redis_exporter", 2))
    _, answers = observed.awaited(lambda: told("TargetDown", "job=postgres", 2))

    assert (stopped["severity"], stopped["summary"]) == ("warning", "program redis_exporter does not run.")
    assert stopped["values"]["runbook"] == "docs/runbook/program-not-running.md"
    assert first == stopped
    assert (started["severity"], started["summary"]) == ("info", "resolved: program redis_exporter does not run.")
    assert hangs["values"]["runbook"] == followed.path
    assert (hangs["summary"], answers["severity"]) == ("postgres gives no metrics.", "info")


def post(observed: Observed, alert: dict[str, Any], token: str) -> int:
    address = f"http://127.0.0.1:{ports()['watcher_metrics']}/alerts"
    headers = {"Authorization": f"Bearer {token}"}
    body = {"version": "4", "alerts": [alert]}
    return httpx.post(address, json=body, headers=headers, trust_env=False, timeout=60).status_code


def test_a_repeated_request_makes_no_second_alert(observed: Observed) -> None:
    name, token = f"Repeated{uuid.uuid4().hex[:8]}", observed.settings.alertmanager_token.get_secret_value()
    alert = {
        "status": "firing",
        "labels": {"alertname": name, "severity": "critical"},
        "annotations": {"summary": "it rang"},
        "startsAt": "2026-11-30T11:20:46.965Z",
    }
    assert post(observed, alert, "another token") == 401

    assert [post(observed, alert, token) for _ in range(3)] == [200] * 3
    assert post(observed, alert | {"status": "resolved"}, token) == 200

    observed.awaited(lambda: len(observed.notified(name)) == 2)
    rows = [one.document for one in recent(observed.settings, limit=100) if one.document["rule"] == name]
    assert sorted(row["severity"] for row in rows) == ["critical", "info"]
    assert len(observed.notified(name)) == 2
