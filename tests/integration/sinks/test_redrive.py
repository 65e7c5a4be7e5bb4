"""A record that a store refused is delivered by `tickhouse dlq redrive` after the fix."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from common.clients import elasticsearch
from tests.eventually import eventually
from tests.integration.sinks.conftest import Sinks, wrong
from tests.integration.sinks.trades import OFFERED
from tests.unit.tickhouse.checks.reconcile.samples import trade

pytestmark = pytest.mark.integration

DAY_US = 86_400_000_000
TOPIC = "dlq.elasticsearch-trades"
REFUSED = trade(7_000_000_001, time_us=OFFERED[0].time_us + 70 * DAY_US)
INDEX = f"crypto-trades-{datetime.fromtimestamp(REFUSED.time_us / 1e6, UTC):%Y.%m}"


def letters(sinks: Sinks) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(sinks.run("dlq", "show", TOPIC, "--json"))
    return [one for one in found if one["reason"].startswith("task_put:")]


def test_a_refused_record_is_delivered_after_the_fix(sinks: Sinks) -> None:
    from stack.engine.lifecycle import up

    up(services=["postgres"])  # holds the log of redrives
    with elasticsearch.connected(sinks.settings, "admin") as client:
        client.indices.create(index=INDEX, mappings={"properties": {"price": {"type": "ip"}}})
    before = len(letters(sinks))
    sinks.seeder.kafka("crypto.trades", [REFUSED], sinks.seeder.trade_value)
    sinks.seeder.kafka("crypto.trades.enriched", [REFUSED], sinks.seeder.enriched_value)
    sinks.seeder.flush()
    eventually(lambda: len(letters(sinks)) == before + 1, timeout_s=60, every_s=0.5)
    letter = letters(sinks)[-1]

    explained = json.loads(sinks.run("dlq", "explain", letter["place"], "--json"))
    assert explained["event_id"] == REFUSED.event_id
    assert explained["record"]["price"] == REFUSED.price
    assert "the store refused" in explained["what"].lower()
    assert wrong(sinks.reconcile("elasticsearch")) == {"elasticsearch": {"missing": 1}}

    with elasticsearch.connected(sinks.settings, "admin") as client:
        client.indices.delete(index=INDEX)
    (sent,) = json.loads(sinks.run("dlq", "redrive", letter["place"], "--json"))
    assert (sent["result"], sent["try"], sent["event_id"]) == ("sent", 1, REFUSED.event_id)
    assert sent["topic"] == "crypto.trades.enriched"
    sinks.drained()

    assert wrong(sinks.reconcile("elasticsearch", "mongodb", "cassandra", wait_s=60)) == {}
    assert len(letters(sinks)) == before + 1
    assert json.loads(sinks.run("dlq", "redrive", letter["place"], "--json"))[0]["result"] == "skipped"
