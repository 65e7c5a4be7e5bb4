"""Years of a rare symbol in every store, a full store, and retention of each sink store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from common.clients import cassandra, elasticsearch, mongodb
from stack.elasticsearch.setup import merge_daily_indices
from stack.engine.context import ServiceContext
from stack.engine.lifecycle import catalog
from tests.eventually import eventually
from tests.integration.sinks.conftest import STORES, Sinks, wrong
from tests.unit.tickhouse.checks.reconcile.samples import trade
from tickhouse.checks.reconcile.model import CheckedStream, CheckedTrade
from tickhouse.retention.declaration import IndicesKept
from tickhouse.retention.indices import ElasticsearchIndices
from tickhouse.retention.policy import StorePlan
from tickhouse.retention.rows import CassandraTtl, MongoDocuments
from tickhouse.retention.run import apply, plan

pytestmark = [pytest.mark.integration, pytest.mark.long]

DAY_US = 86_400_000_000
FIRST_DAY = datetime(2018, 5, 4, 11, 22, 33, tzinfo=UTC)
XRP = CheckedStream("spot", "XRPETH", "aggTrade")
DAYS = 1_100
# As XRPETH-aggTrades-1100days.csv of the field files: one trade per day.
RARE = [
    trade(9_000_000 + day, key=XRP, time_us=int(FIRST_DAY.timestamp()) * 10**6 + day * DAY_US) for day in range(DAYS)
]


def send(sinks: Sinks, trades: list[CheckedTrade]) -> None:
    sinks.seeder.kafka("crypto.trades", trades, sinks.seeder.trade_value)
    sinks.seeder.kafka("crypto.trades.enriched", trades, sinks.seeder.enriched_value)
    sinks.seeder.flush()


@pytest.fixture(scope="module")
def rare(sinks: Sinks) -> list[int]:
    """Send the trades of 1,100 days; return the dead letters that were there before."""
    letters = [len(sinks.dead_letters(name)) for name in sinks.states()]
    send(sinks, RARE)
    return letters


def test_one_trade_per_day_for_1100_days_is_in_every_store_and_no_dead_letter(sinks: Sinks, rare: list[int]) -> None:
    report = sinks.reconcile(wait_s=180)
    assert wrong(report) == {}
    assert [len(sinks.dead_letters(name)) for name in sinks.states()] == rare
    with elasticsearch.connected(sinks.settings, "reader") as client:
        assert client.count(index="crypto-trades-*", query={"term": {"symbol": "XRPETH"}})["count"] == DAYS
    indices = elasticsearch.describe(sinks.settings, "crypto-trades-*")
    assert len([name for name in indices if name < "crypto-trades-2022"]) == 37


@contextmanager
def shards_exhausted(sinks: Sinks) -> Iterator[None]:
    """Forbid the node to allocate another shard."""
    limit = "cluster.max_shards_per_node"
    with elasticsearch.connected(sinks.settings, "admin") as client:
        shards = client.cluster.health()["active_shards"]
        client.cluster.put_settings(persistent={limit: shards})
    try:
        yield
    finally:
        with elasticsearch.connected(sinks.settings, "admin") as client:
            client.cluster.put_settings(persistent={limit: None})


def test_a_store_without_a_free_shard_makes_no_dead_letter_and_goes_on_later(sinks: Sinks, rare: list[int]) -> None:
    sinks.drained()
    late = trade(9_500_000, key=XRP, time_us=RARE[0].time_us - 400 * DAY_US)
    before = len(sinks.dead_letters("elasticsearch-trades"))
    with shards_exhausted(sinks):
        send(sinks, [late])
        eventually(lambda: "maximum" in worker_log(sinks), timeout_s=60, every_s=1)
        assert len(sinks.dead_letters("elasticsearch-trades")) == before
    assert wrong(sinks.reconcile("elasticsearch", wait_s=120)) == {}
    assert len(sinks.dead_letters("elasticsearch-trades")) == before


def worker_log(sinks: Sinks) -> str:
    return (sinks.home / "logs" / "connect.log").read_text(errors="replace")


def test_indices_of_a_day_are_moved_into_their_month(sinks: Sinks, rare: list[int]) -> None:
    sinks.reconcile("elasticsearch", wait_s=180)
    daily, monthly = "crypto-trades-2018.05.04", "crypto-trades-2018.05"
    with elasticsearch.connected(sinks.settings, "admin") as client:
        (hit,) = client.search(index=monthly, query={"ids": {"values": [RARE[0].event_id]}})["hits"]["hits"]
        client.index(index=daily, id=hit["_id"], document=hit["_source"], refresh=True)
        client.delete(index=monthly, id=hit["_id"], refresh=True)
    context = ServiceContext(catalog()["elasticsearch"], sinks.settings)

    for _ in range(2):
        merge_daily_indices(context)

    with elasticsearch.connected(sinks.settings, "admin") as client:
        assert not client.indices.exists(index=daily)
        eventually(lambda: client.exists(index=monthly, id=RARE[0].event_id))
    assert wrong(sinks.reconcile("elasticsearch", wait_s=30)) == {}


def applied(sinks: Sinks, policy: Any, now: datetime) -> StorePlan:
    (done,) = apply(sinks.settings, [policy], now, lambda line: None)
    assert done.error == ""
    return done


def test_what_retention_removed_is_expired_and_not_missing(sinks: Sinks, rare: list[int]) -> None:
    from stack.engine.lifecycle import up

    up(services=["postgres"])  # keeps the record of removals
    sinks.reconcile(wait_s=180)
    policy = ElasticsearchIndices(sinks.settings, IndicesKept(days=30, most_indices=400))
    assert plan([policy], datetime.now(UTC) + timedelta(days=29))[0].steps == ()

    # By number: those that were made first go, and with them the trades of whole months.
    before = elasticsearch.describe(sinks.settings, "crypto-trades-*")
    few = ElasticsearchIndices(sinks.settings, IndicesKept(days=30, most_indices=len(before) - 3))
    done = applied(sinks, few, datetime.now(UTC))
    gone = before.keys() - elasticsearch.describe(sinks.settings, "crypto-trades-*").keys()
    assert {step.item for step in done.steps} == gone
    assert len(gone) == 3
    assert max(before[name] for name in gone) <= min(one for name, one in before.items() if name not in gone)
    assert applied(sinks, few, datetime.now(UTC)).steps == ()

    report = sinks.reconcile("elasticsearch")
    assert wrong(report) == {}
    expired = report["stores"]["elasticsearch"]["expired"]
    assert expired == sum(step.rows or 0 for step in done.steps) > 0

    # What comes now must be there, although its month was removed.
    removed = done.steps[-1]
    assert removed.covers is not None
    again = trade(9_600_000, key=XRP, time_us=int(removed.covers.event_from.timestamp()) * 10**6)
    send(sinks, [again])
    assert wrong(sinks.reconcile("elasticsearch", "mongodb", wait_s=120)) == {}
    with elasticsearch.connected(sinks.settings, "admin") as client:
        client.delete(index=removed.item, id=again.event_id, refresh=True)
    assert wrong(sinks.reconcile("elasticsearch")) == {"elasticsearch": {"missing": 1}}
    send(sinks, [again])  # not by reading the topic again: other tests left records there that they undid in the store
    assert wrong(sinks.reconcile("elasticsearch", wait_s=60)) == {}


def test_mongodb_removes_by_arrival_and_accepts_a_second_delivery(sinks: Sinks, rare: list[int]) -> None:
    from stack.engine.lifecycle import up

    up(services=["postgres"])
    sinks.reconcile("mongodb", "mongodb-raw", wait_s=180)
    now = datetime.now(UTC)
    policy = MongoDocuments(sinks.settings, (now - datetime(2019, 1, 1, tzinfo=UTC)).days)
    with mongodb.connected(sinks.settings) as database:
        before = database["trades"].count_documents({})
    done = applied(sinks, policy, now)
    assert len(done.steps) == 1
    with mongodb.connected(sinks.settings) as database:
        left = [database[name].count_documents({}) for name in ("trades", "trades_raw")]
    assert left[0] == left[1]
    assert before - left[0] > 200
    assert applied(sinks, policy, now).steps == ()

    for connector in ("mongodb-trades", "mongodb-trades-raw"):
        sinks.run("connectors", "offsets", "reset", connector, "--yes")
    sinks.drained()
    assert wrong(sinks.reconcile("mongodb", "mongodb-raw", wait_s=60)) == {}


def test_cassandras_time_to_live_is_the_declared_one(sinks: Sinks) -> None:
    from stack.engine.lifecycle import up

    up(services=["postgres"])
    declared = cassandra.time_to_live_s(sinks.settings)
    policy = CassandraTtl(sinks.settings, 91)
    try:
        assert [step.action for step in applied(sinks, policy, datetime.now(UTC)).steps] == ["set", "remove"]
        assert cassandra.time_to_live_s(sinks.settings) == 91 * 86_400
    finally:
        cassandra.set_time_to_live(sinks.settings, declared)
    assert declared == 90 * 86_400


def test_the_command_shows_every_store_that_takes_part(sinks: Sinks) -> None:
    import json

    found = json.loads(sinks.run("retention", "plan", "--json", "--store", "elasticsearch", "--store", "cassandra"))
    assert [one["store"] for one in found["stores"]] == ["elasticsearch", "cassandra"]
    assert all(one["error"] is None for one in found["stores"])
    assert set(STORES) >= {"elasticsearch", "cassandra"}
