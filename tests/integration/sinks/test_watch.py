"""The watch of `dags/connectors.py` on real stores: it finds a stuck store, and restarts a task."""

from __future__ import annotations

import re

import pytest

from common.clients.connect import Worker
from common.errors import StoreUnavailable
from tests.eventually import eventually
from tests.integration.sinks.conftest import Sinks
from tests.integration.sinks.row_editors import RowEditor
from tests.unit.tickhouse.checks.reconcile.samples import START_US, trade
from tickhouse.connectors.watch import of_enabled_stores, require_fresh, restart_failed

pytestmark = pytest.mark.integration

DAY_S = 86_400
NO_PAUSE = {"pause": lambda _: None}


def test_a_store_that_lost_its_newest_event_is_reported_although_its_connector_runs(
    sinks: Sinks, row_editors: dict[str, RowEditor]
) -> None:
    wanted = of_enabled_stores(sinks.settings)
    newest = trade(990, time_us=START_US + 100 * DAY_S * 10**6)  # later than any other test's
    sinks.seeder.kafka("crypto.trades", [newest], sinks.seeder.trade_value)
    sinks.seeder.kafka("crypto.trades.enriched", [newest], sinks.seeder.enriched_value)
    sinks.seeder.flush()
    sinks.reconcile(wait_s=60)
    assert {one.topic_us for one in require_fresh(sinks.settings, wanted, 30.0, **NO_PAUSE)} == {newest.time_us, None}

    restore = row_editors["mongodb"].corrupt(newest, "deleted")
    try:
        assert sinks.states()["mongodb-trades"]["state"] == "RUNNING"
        with pytest.raises(StoreUnavailable, match=r"mongodb-trades ends \d+ s before its topic"):
            require_fresh(sinks.settings, wanted, 30.0, **NO_PAUSE)
    finally:
        restore()
    require_fresh(sinks.settings, wanted, 30.0, **NO_PAUSE)


def test_a_failed_task_is_restarted(sinks: Sinks) -> None:
    wanted = of_enabled_stores(sinks.settings)
    config = wanted["elasticsearch-ticks"].config
    secrets = sinks.home / "conf" / "connect" / "secrets" / "sinks.properties"
    right = secrets.read_text()
    with Worker.of(sinks.settings) as worker:
        # With a wrong password no single record is at fault, so the task fails.
        secrets.write_text(re.sub("(?m)^elasticsearch.password=.*", "elasticsearch.password=wrong", right))
        try:
            worker.put("elasticsearch-ticks", config | {"topics": "crypto.trades"})
            eventually(lambda: _failed(sinks), timeout_s=60, every_s=1)
            assert sinks.dead_letters("elasticsearch-ticks") == []
        finally:
            secrets.write_text(right)
        worker.put("elasticsearch-ticks", config)
        restart_failed(worker, wanted)
        eventually(lambda: not _failed(sinks), timeout_s=60, every_s=1)


def _failed(sinks: Sinks) -> bool:
    return any(task["state"] == "FAILED" for task in sinks.states()["elasticsearch-ticks"]["tasks"])
