"""Faults of connectors and of what they write, repaired by the pages of the runbook."""

from __future__ import annotations

import pytest

from common.clients.connect import Worker
from common.errors import DriftFound, ReconcileFailed
from tests.eventually import eventually
from tests.integration.sinks.conftest import Sinks
from tests.integration.sinks.row_editors import RowEditor
from tests.integration.sinks.trades import OFFERED
from tests.runbook.following import FollowedPage
from tests.unit.tickhouse.checks.reconcile.samples import START_US, trade
from tickhouse.connectors import files

pytestmark = pytest.mark.integration

NAME = "mongodb-trades"


def pause(sinks: Sinks) -> None:
    sinks.run("connectors", "pause", NAME)
    eventually(lambda: sinks.states()[NAME]["state"] == "PAUSED", timeout_s=60)


@pytest.mark.runbook("connector-down")
def test_a_connector_that_does_not_run(sinks: Sinks, followed: FollowedPage) -> None:
    pause(sinks)
    followed.values = {"CONNECTOR": NAME}

    assert "PAUSED" in followed.check()
    followed.repair()

    sinks.drained()


@pytest.mark.runbook("store-behind")
def test_a_store_that_is_behind(sinks: Sinks, followed: FollowedPage) -> None:
    pause(sinks)
    later = trade(980, time_us=START_US + 86_400 * 10**6)
    sinks.seeder.kafka("crypto.trades.enriched", [later], sinks.seeder.enriched_value)
    sinks.seeder.kafka("crypto.trades", [later], sinks.seeder.trade_value)
    sinks.seeder.flush()
    assert sinks.states()[NAME]["lag_records"] > 0
    followed.values = {"CONNECTOR": NAME}

    followed.check()
    followed.repair()

    sinks.drained()


@pytest.mark.runbook("connector-drift")
def test_a_connector_that_was_changed_by_hand(sinks: Sinks, followed: FollowedPage) -> None:
    changed = files.read()[NAME].config | {"max.batch.size": "123"}
    with Worker.of(sinks.settings) as worker:
        worker.put(NAME, changed)
    followed.values = {"CONNECTOR": NAME}

    found = followed.check(codes={"tickhouse connectors plan": DriftFound.exit_code})
    followed.repair()

    assert "123" in found
    assert f"More: {followed.path}" in found
    sinks.drained()


@pytest.mark.runbook("reconcile-failed")
def test_a_row_that_was_removed_by_hand(
    sinks: Sinks, row_editors: dict[str, RowEditor], followed: FollowedPage
) -> None:
    sinks.drained()
    row_editors["mongodb"].corrupt(OFFERED[3], "deleted")
    followed.values = {"STORE": "mongodb", "CONNECTOR": NAME, "EVENT_ID": OFFERED[3].event_id}

    found = followed.check(codes={"tickhouse reconcile": ReconcileFailed.exit_code})
    followed.repair()

    assert f"More: {followed.path}" in found
    assert OFFERED[3].event_id in found
