"""Trades go through Connect into three real stores: all digits arrive, and a wrong row is found."""

from __future__ import annotations

import json
from typing import Any

import pytest

from common.clients import cassandra, elasticsearch, mongodb
from tests.integration.sinks.conftest import STORES, Sinks, wrong
from tests.integration.sinks.row_editors import RowEditor
from tests.integration.sinks.trades import AT, BTC, OFFERED
from tickhouse.checks.reconcile.model import plain

pytestmark = pytest.mark.integration

# The faults that reconcile reports for each kind of wrong row; "" stands for every other store.
FAULTS: dict[str, dict[str, dict[str, int]]] = {
    "deleted": {"": {"missing": 1}},
    "doubled": {
        "mongodb": {"duplicate": 1, "mismatch": 1},
        "mongodb-raw": {"duplicate": 1, "mismatch": 1},
        "elasticsearch": {"mismatch": 1},
        "cassandra": {"duplicate": 1, "mismatch": 1},
    },
    "altered": {"": {"mismatch": 1}},
    "moved": {"": {"missing": 1, "mismatch": 1}},
    "shifted": {"": {"mismatch": 1}},
}


@pytest.fixture(scope="module", autouse=True)
def _filled(sinks: Sinks) -> None:
    """Wait until the stores hold what was sent."""
    assert wrong(sinks.reconcile(wait_s=180)) == {}


def test_every_store_holds_every_trade_once(sinks: Sinks) -> None:
    document = sinks.reconcile()
    stores = document["stores"]
    kafka = stores["kafka"]

    assert wrong(document) == {}
    assert kafka["distinct"] >= len(OFFERED)
    assert {name: one["count"] for name, one in stores.items() if name != "kafka"} == dict.fromkeys(
        STORES, kafka["distinct"]
    )
    assert {one["hash_all"] for one in stores.values()} == {kafka["hash_all"]}
    assert all(law["holds"] for law in document["law"]["stores"].values())


@pytest.mark.parametrize("how", FAULTS)
@pytest.mark.parametrize("store", STORES)
def test_one_wrong_row_is_found_in_its_store(
    sinks: Sinks, row_editors: dict[str, RowEditor], store: str, how: str
) -> None:
    restore = row_editors[store].corrupt(OFFERED[AT], how)
    try:
        document = sinks.reconcile(store)
    finally:
        restore()

    wanted = FAULTS[how].get(store) or FAULTS[how][""]
    assert wrong(document) == {store: wanted}
    subjects = {example["subject"] for example in document["stores"][store]["examples"]}
    assert any(subject.startswith(OFFERED[AT].event_id) for subject in subjects) or how == "moved"


def test_each_store_has_the_exact_digits_and_microseconds(sinks: Sinks) -> None:
    trade = OFFERED[-1]
    settings = sinks.settings
    price, qty = plain(trade.price), plain(trade.qty)
    with mongodb.connected(settings) as database:
        document = database["trades"].find_one({"_id": trade.event_id})
    with elasticsearch.connected(settings, "reader") as client:
        (hit,) = client.search(index="crypto-trades-*", query={"ids": {"values": [trade.event_id]}})["hits"]["hits"]
    with cassandra.connected(settings, "reader") as session:
        row = next(one for one in session.execute("SELECT * FROM market.trades") if one["event_id"] == trade.event_id)

    assert document is not None
    assert (str(document["price"]), str(document["qty"])) == (price, qty)
    assert (hit["_source"]["price"], hit["_source"]["qty"]) == (price, qty)
    assert (format(row["price"], "f"), format(row["qty"], "f")) == (price, qty)
    assert document["trade_time_us"] == row["trade_time_us"] == trade.time_us
    assert document["trade_time"].microsecond == row["trade_time"].microsecond == trade.time_us // 1000 * 1000 % 10**6
    assert hit["_source"]["trade_time"].endswith(".987654Z")


def test_the_search_store_searches_numbers_and_microseconds(sinks: Sinks) -> None:
    with elasticsearch.connected(sinks.settings, "reader") as client:
        dear = client.search(index="crypto-trades-*", query={"range": {"price": {"gt": 1_000_000}}})["hits"]["hits"]
        late = {"range": {"trade_time": {"gt": "2024-08-08T23:54:00.987653Z", "lt": "2024-08-08T23:54:00.987655Z"}}}
        exact = client.search(index="crypto-trades-*", query=late)["hits"]["hits"]

    assert [hit["_id"] for hit in dear] == [hit["_id"] for hit in exact] == [OFFERED[-1].event_id]


def test_the_roles_may_do_their_own_job_only(sinks: Sinks) -> None:
    from common.errors import StoreUnavailable

    for role in ("reader", "writer"):
        with (
            pytest.raises(StoreUnavailable, match="unauthorized"),
            elasticsearch.connected(sinks.settings, role) as client,
        ):
            client.indices.delete(index="crypto-trades-2024.08")
    for role, statement in (
        ("writer", "SELECT * FROM market.trades"),
        ("reader", "DELETE FROM market.trades WHERE symbol = 'X' AND bucket = 0"),
        ("writer", "DROP TABLE market.trades"),
    ):
        with (
            pytest.raises(StoreUnavailable, match=r"no .* permission"),
            cassandra.connected(sinks.settings, role) as session,
        ):
            session.execute(statement)
    with (
        pytest.raises(StoreUnavailable, match=r"Bad credentials|bad credentials|authenticate|incorrect"),
        cassandra.session(sinks.settings, ("cassandra", "cassandra")),
    ):
        pass


def test_explain_and_status_name_the_stores(sinks: Sinks) -> None:
    document: dict[str, Any] = json.loads(sinks.run("explain", OFFERED[-1].event_id, "--json"))
    status = json.loads(sinks.run("status", "--json"))["pipeline"]

    for store in ("mongodb", "elasticsearch", "cassandra"):
        assert {found["price"] for found in document["systems"][store]} == {plain(OFFERED[-1].price)}, store
    assert len(document["systems"]["mongodb"]) == 2
    counts = {status["mongodb"]["documents"]["trades"], status["cassandra"]["rows"]}
    assert counts == {status["elasticsearch"]["documents"]["trades"]}
    assert min(counts) >= len(OFFERED)
    assert set(status["connectors"]["state"].values()) == {"RUNNING"}


def test_a_trade_of_another_market_is_another_event(sinks: Sinks) -> None:
    before = sinks.reconcile("cassandra")
    same_id = OFFERED[0]._replace(key=BTC._replace(market="usdm"))
    trades = sinks.seeder
    trades.kafka("crypto.trades", [same_id], trades.trade_value)
    trades.kafka("crypto.trades.enriched", [same_id], trades.enriched_value)
    trades.flush()

    document = sinks.reconcile(wait_s=60)
    assert wrong(document) == {}
    assert same_id.event_id != OFFERED[0].event_id
    assert document["stores"]["cassandra"]["count"] == before["stores"]["cassandra"]["count"] + 1
