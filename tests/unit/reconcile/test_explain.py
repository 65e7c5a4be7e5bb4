from __future__ import annotations

import pytest

from tickhouse.errors import ConfigurationError, StoreUnavailable
from tickhouse.explain.explain import Explanation, explain
from tickhouse.explain.places import may_hold, redis_state
from tickhouse.explain.show import lines
from tickhouse.reconcile import lake, latest, postgres
from tickhouse.reconcile.model import StreamKey, parse_event_id
from tickhouse.settings import Settings

KEY = StreamKey("spot", "BTCUSDT", "aggTrade")
CLOSED = "127.0.0.1:1"  # nobody listens there


@pytest.mark.parametrize(
    "text", ["", "binance:spot:BTCUSDT:aggTrade", "binance:spot::aggTrade:5", "a:b:c:d:5", "binance:a:b:c:-5"]
)
def test_what_is_no_event_id_is_refused(text):
    with pytest.raises(ValueError, match="Expected binance:"):
        parse_event_id(text)
    with pytest.raises(ConfigurationError, match="Expected binance:"):
        explain(Settings(), text, "ingest", print)


def test_a_file_is_read_only_if_its_offsets_cover_a_copy():
    path = "bronze/trades/date=2024-08-08/hour=23/crypto.trades-1-100-200.parquet"
    assert may_hold(path, [{"partition": 1, "offset": 100}])
    assert may_hold(path, [{"partition": 0, "offset": 5}, {"partition": 1, "offset": 199}])
    assert not may_hold(path, [{"partition": 1, "offset": 200}])
    assert not may_hold(path, [{"partition": 2, "offset": 150}])
    assert may_hold(path, [])


@pytest.mark.parametrize(
    ("systems", "is_found"),
    [
        ({}, False),
        ({"kafka": [], "lake": [], "ledger": {"seen_by": [], "gaps": []}, "postgres": {"is_applied": False}}, False),
        ({"kafka": [{"offset": 1}]}, True),
        ({"dlq.producer": [{"reason": "bad_id"}]}, True),
        ({"ledger": {"seen_by": [], "gaps": [{"state": "open"}]}}, True),
        ({"postgres": {"is_applied": True}}, True),
        ({"redis": {"is_latest": True}}, True),
    ],
)
def test_found_means_that_some_system_knows_it(systems, is_found):
    assert Explanation("x", systems).is_found is is_found


def test_each_answer_has_words():
    state = redis_state({KEY: {"event_id": "other"}}, KEY, "this")
    assert lines("redis", state) == ["tickhouse:last:spot:BTCUSDT:aggTrade: latest is other"]
    row = {"path": "p", "partition": 1, "offset": 2, "ref": "ingest", "first_commit": None}
    assert lines("lake", [row]) == ["p (Kafka offset 1@2), on ingest, not committed yet"]
    assert lines("dlq.producer", []) == ["no dead letter"]
    gap = {"state": "open", "first_id": 1, "last_id": 3, "reason": "cut"}
    assert lines("ledger", {"seen_by": [], "gaps": [gap]})[1] == "in the open gap 1 to 3 (cut)"
    assert lines("postgres", {"is_applied": False}) == ["not applied to any candle"]


def test_a_service_that_is_down_is_named():
    with pytest.raises(StoreUnavailable, match="Redis cannot be read"):
        latest.read(f"redis://{CLOSED}/0")
    with (
        pytest.raises(StoreUnavailable, match="PostgreSQL cannot be read"),
        postgres.connected(f"postgresql://{CLOSED}/x"),
    ):
        pass
    store = lake.connect(Settings(lakefs_endpoint=f"http://{CLOSED}", lakefs_access_key_id="a"), "ingest")
    with pytest.raises(StoreUnavailable, match="The lake at lake/ingest cannot be read"):
        store.bronze("trades")
