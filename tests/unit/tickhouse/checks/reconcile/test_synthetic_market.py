from __future__ import annotations

import json

import pytest

from common.errors import ConfigurationError
from standins.exchange.synthetic_market import MarketConfig
from tickhouse.checks.reconcile.model import CheckedStream
from tickhouse.checks.reconcile.offered_events import OfferedEvents
from tickhouse.checks.reconcile.synthetic_market import load_document, load_exchange, subscribed

MARKET = MarketConfig(
    seed=7, length_s=60, events=400, symbols=("BTCUSDT", "ADABTC"), sentinels=3, out_of_range=4, trailing_zeros=2,
    huge_quantities=1, silent_minutes={},
)  # fmt: skip


def account(**changes):
    return {
        "source": "synthetic", "seed": 7, "market": MARKET.model_dump(mode="json"), "config": {},
        "streams_subscribed": ["btcusdt@aggTrade", "adabtc@aggTrade", "btcusdt@bookTicker"],
        "played_until_us": MARKET.end_us, "end_us": MARKET.end_us, "garbage": [],
    } | changes  # fmt: skip


def loaded(**changes):
    truth = OfferedEvents()
    load_document(account(**changes), truth)
    return truth


def test_a_whole_market_is_offered_except_values_out_of_range():
    truth = loaded()
    assert truth.count == 400 - 4
    assert [one.reason for one in truth.rejections] == ["decimal_out_of_range"] * 4
    assert sum(one.is_sentinel for trades in truth.trades.values() for one in trades.values()) == 3
    assert not truth.is_running
    assert set(truth.live) == {
        CheckedStream("spot", "BTCUSDT", "aggTrade"),
        CheckedStream("spot", "ADABTC", "aggTrade"),
    }


def test_only_subscribed_streams_up_to_the_played_time_are_offered():
    half = MARKET.start_us + 30_000_000
    truth = loaded(played_until_us=half, streams_subscribed=["btcusdt@aggTrade"])
    assert [key.symbol for key in truth.trades] == ["BTCUSDT"]
    assert all(one.time_us <= half for one in next(iter(truth.trades.values())).values())
    assert truth.is_running
    assert truth.live == {key: max(trades) for key, trades in truth.trades.items()}
    assert loaded(streams_subscribed=["btcusdt@bookTicker"]).sources == []


def test_single_trades_span_themselves():
    truth = loaded(streams_subscribed=["btcusdt@trade"])
    trades = next(iter(truth.trades.values()))
    assert all((one.trade_id, one.trade_id) == (one.first_id, one.last_id) for one in trades.values())
    ids = sorted(trades)
    assert len(ids) > 200


def test_garbage_is_required_only_when_a_client_is_known_to_have_read_it():
    base = {"nth": 0, "sha256": "ab", "kind": "not_utf8", "reason": "not_utf8"}
    truth = loaded(garbage=[base | {"delivered_at_us": 5}, base | {"sha256": "cd", "delivered_at_us": None}])
    assert [one.key for one in truth.rejections if one.reason == "not_utf8"] == ["sha256:ab"]
    assert [one.key for one in truth.possible] == ["sha256:cd"]


def test_trade_streams_are_recognized_by_name():
    assert subscribed(["btcusdt@aggTrade", "ethusdt@trade", "!miniTicker@arr", "x@kline_1m"]) == {
        "aggTrade": {"BTCUSDT"},
        "trade": {"ETHUSDT"},
    }


def test_the_record_of_the_exchange_is_read_from_the_home(tmp_path):
    truth = OfferedEvents()
    load_exchange(tmp_path, truth)
    assert truth.sources == []
    (tmp_path / "truth").mkdir()
    record = tmp_path / "truth" / "exchange.json"
    record.write_text(json.dumps(account()))
    load_exchange(tmp_path, truth)
    assert truth.count == 396
    record.write_text("{}")
    with pytest.raises(ConfigurationError, match=r"exchange\.json is not a record"):
        load_exchange(tmp_path, OfferedEvents())
