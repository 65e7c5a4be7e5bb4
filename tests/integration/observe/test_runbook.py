"""Faults of watched services, repaired by the pages of the runbook about their alerts."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import httpx
import pytest

from api.principals import KEY_HEADER
from common.settings import ports
from stack.engine import supervisor
from tests.faults.processes import answers
from tests.integration.observe.conftest import Observed
from tests.integration.observe.test_alerting import post
from tests.runbook.following import FollowedPage

pytestmark = pytest.mark.integration

# Two series match where one is expected: no evaluation of it succeeds.
FAILING_RULE = """
groups: [{name: failing, rules: [{record: failing, expr: "up * on () up"}]}]
"""


def health_of_rules() -> dict[str, str]:
    """Return the health of each group's rules; nothing while Prometheus starts."""
    address = f"http://127.0.0.1:{ports()['prometheus']}/api/v1/rules"
    try:
        groups = httpx.get(address, trust_env=False).raise_for_status().json()["data"]["groups"]
    except httpx.HTTPError:
        return {}
    return {group["name"]: ",".join(sorted({rule["health"] for rule in group["rules"]})) for group in groups}


def commits(observed: Observed) -> int:
    """Return the status of a request of the API that lakeFS answers."""
    key = {KEY_HEADER: observed.settings.api_read_key.get_secret_value()}
    address = f"http://127.0.0.1:{ports()['api']}/v1/lake/commits"
    return httpx.get(address, headers=key, trust_env=False, timeout=30).status_code


@pytest.mark.runbook("store-down")
def test_a_store_that_is_down(observed: Observed, followed: FollowedPage) -> None:
    supervisor.stop(["redis"])
    followed.values = {"SERVICE": "redis"}

    assert "STOPPED" in followed.check()
    followed.repair()

    assert answers("redis")


@pytest.mark.runbook("program-not-running")
def test_a_program_that_somebody_stopped(observed: Observed, followed: FollowedPage) -> None:
    supervisor.stop(["alert_bridge"])
    followed.values = {"PROGRAM": "alert_bridge", "SERVICE": "notifications"}

    followed.check()
    followed.repair()

    observed.awaited(lambda: supervisor.state("alert_bridge").state == "RUNNING")
    assert answers("notifications")


@pytest.mark.runbook("api-errors")
def test_a_route_whose_store_is_down(observed: Observed, followed: FollowedPage) -> None:
    supervisor.stop(["lakefs"])
    assert commits(observed) == 503
    followed.values = {"SERVICE": "lakefs"}

    assert "503" in followed.check()
    followed.repair()

    assert commits(observed) == 200


@pytest.mark.runbook("alert-delivery-fails")
def test_a_watcher_that_takes_no_alerts(observed: Observed, followed: FollowedPage) -> None:
    alert = {"status": "firing", "labels": {"alertname": "DeliveryOfRunbook"}, "startsAt": "2026-11-30T11:20:46.965Z"}
    token = observed.settings.alertmanager_token.get_secret_value()
    supervisor.stop(["alert_watcher"])
    with pytest.raises(httpx.ConnectError):
        post(observed, alert, token)

    followed.check()
    followed.repair()

    assert post(observed, alert, token) == 200


@pytest.mark.runbook("rules-fail")
def test_a_rule_that_cannot_be_evaluated(observed: Observed, followed: FollowedPage, tmp_path: Path) -> None:
    (tmp_path / "failing.yaml").write_text(FAILING_RULE)
    config = observed.settings.home / "conf" / "prometheus" / "prometheus.yml"
    config.write_text(config.read_text().replace("rule_files: [", f'rule_files: ["{tmp_path}/failing.yaml", '))
    prometheus = supervisor.state("prometheus").pid
    os.kill(prometheus, signal.SIGHUP)
    observed.awaited(lambda: health_of_rules().get("failing") == "err")
    followed.values = {"PID": str(prometheus)}

    assert "many-to-many" in followed.check()
    followed.repair()

    observed.awaited(lambda: (found := health_of_rules()) and "failing" not in found)
    assert "err" not in health_of_rules().values()
