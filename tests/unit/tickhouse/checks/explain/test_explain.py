from __future__ import annotations

import pytest

from common.clients.lake_files import RefFiles
from common.clients.latest_prices import latest_trade
from common.clients.postgres import read_only
from common.errors import ConfigurationError, StoreUnavailable
from common.event_ids import StreamName, parse_event_id
from common.settings import Settings
from tickhouse.checks.explain.event import Explanation, explain
from tickhouse.checks.explain.systems import may_hold, redis_state
from tickhouse.cli.render.explain import lines

KEY = StreamName("spot", "BTCUSDT", "aggTrade")
CLOSED = "127.0.0.1:1"  # nobody listens there


@pytest.mark.parametrize(
    "text", ["", "binance:spot:BTCUSDT:aggTrade", "binance:spot::aggTrade:5", "a:b:c:d:5", "binance:a:b:c:-5"]
)
def test_a_text_that_is_not_an_event_id_is_refused(text):
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
def test_an_event_is_found_when_any_system_knows_it(systems, is_found):
    assert Explanation("x", systems).is_found is is_found


def test_each_answer_is_printed_as_lines():
    state = redis_state({"event_id": "other"}, KEY, "this")
    assert lines("redis", state) == ["tickhouse:last:spot:BTCUSDT:aggTrade: latest is other"]
    row = {"path": "p", "partition": 1, "offset": 2, "ref": "ingest", "first_commit": None}
    assert lines("lake", [row]) == ["p (Kafka offset 1@2), on ingest, not committed yet"]
    assert lines("dlq.producer", []) == ["no dead letter"]
    gap = {"state": "open", "first_id": 1, "last_id": 3, "reason": "cut"}
    assert lines("ledger", {"seen_by": [], "gaps": [gap]})[1] == "in the open gap 1 to 3 (cut)"
    assert lines("postgres", {"is_applied": False}) == ["not applied to any candle"]


def test_a_service_that_is_down_is_named():
    with pytest.raises(StoreUnavailable, match="Redis cannot be read"):
        latest_trade(f"redis://{CLOSED}/0", KEY)
    with (
        pytest.raises(StoreUnavailable, match="PostgreSQL cannot be read"),
        read_only(f"postgresql://{CLOSED}/x"),
    ):
        pass
    lake = RefFiles.connect(Settings(lakefs_endpoint=f"http://{CLOSED}", lakefs_access_key_id="a"), "ingest")
    with pytest.raises(StoreUnavailable, match="The lake at lake/ingest cannot be read"):
        lake.bronze("trades")


def test_what_was_derived_from_an_event_is_shown_in_words() -> None:
    found = {"window": "2024-08-07T06:00:00Z to 2024-08-08T06:00:00Z", "minute": {"close": "5", "trades": "3"}}

    assert lines("geode", found) == [
        "window: 2024-08-07T06:00:00Z to 2024-08-08T06:00:00Z",
        "minute: close 5, trades 3",
    ]
    assert lines("neo4j", {"commit": "a1b2", "hour": None}) == ["commit: a1b2", "hour: not there"]
