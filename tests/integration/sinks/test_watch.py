"""The watch of `dags/connectors.py` on real stores: loud about a store that stands still, and a restart that heals."""

from __future__ import annotations

import pytest

from tests.eventually import eventually
from tests.integration.sinks.conftest import Sinks
from tests.integration.sinks.hands import Hand
from tests.unit.reconcile.samples import START_US, trade
from tickhouse.connectors.retention import DAY_S, expire
from tickhouse.connectors.watch import of_enabled_stores, require_fresh, restart_failed
from tickhouse.connectors.worker import Worker
from tickhouse.errors import StoreUnavailable
from tickhouse.stores import elasticsearch

pytestmark = pytest.mark.integration

NO_PAUSE = {"pause": lambda _: None}


def test_a_store_that_lost_its_newest_event_is_seen_although_its_connector_runs(
    sinks: Sinks, hands: dict[str, Hand]
) -> None:
    wanted = of_enabled_stores(sinks.settings)
    newest = trade(990, time_us=START_US + 30 * DAY_S * 10**6)
    sinks.seeder.kafka("crypto.trades", [newest], sinks.seeder.trade_value)
    sinks.seeder.kafka("crypto.trades.enriched", [newest], sinks.seeder.enriched_value)
    sinks.seeder.flush()
    sinks.reconcile(wait_s=60)
    assert {one.topic_us for one in require_fresh(sinks.settings, wanted, 30.0, **NO_PAUSE)} == {newest.time_us, None}

    restore = hands["mongodb"].corrupt(newest, "deleted")
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
    with Worker(sinks.settings.connect_url) as worker:
        # A right configuration with a wrong password: no record is at fault, so the task fails.
        worker.put("elasticsearch-ticks", config | {"connection.password": "wrong", "topics": "crypto.trades"})
        eventually(lambda: _failed(sinks), timeout_s=60, every_s=1)
        assert sinks.dead_letters("elasticsearch-ticks") == []
        worker.put("elasticsearch-ticks", config)
        restart_failed(worker, wanted)
        eventually(lambda: not _failed(sinks), timeout_s=60, every_s=1)


def _failed(sinks: Sinks) -> bool:
    return any(task["state"] == "FAILED" for task in sinks.states()["elasticsearch-ticks"]["tasks"])


def test_indices_go_when_they_are_past_their_retention(sinks: Sinks) -> None:
    import time

    assert expire(sinks.settings, time.time() + 29 * DAY_S) == []
    with elasticsearch.connected(sinks.settings, "admin") as client:
        client.indices.create(index="crypto-ticks-2020.01.01")
        assert elasticsearch.expire(sinks.settings, "crypto-ticks-2020*", -1, time.time()) == [
            "crypto-ticks-2020.01.01"
        ]
        assert not client.indices.exists(index="crypto-ticks-2020.01.01")
