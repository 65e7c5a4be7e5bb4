from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickhouse.checks.reconcile.json_records import Source, read_record
from tickhouse.checks.reconcile.model import CheckedStream, CheckedTrade, Rejection, TickId

SPOT = Source("spot", "XRPETH")
AGG = {
    "e": "aggTrade", "E": 1723161255342, "s": "BTCUSDT", "a": 5000000001, "p": "61685.99000000", "q": "0.00150000",
    "f": 7, "l": 9, "T": 1723161255341, "m": True, "M": True,
}  # fmt: skip


def one(document: object) -> object:
    raw = document if isinstance(document, bytes) else json.dumps(document).encode()
    found = list(read_record(raw, SPOT))
    assert len(found) == 1, found
    return found[0]


def test_an_aggregate_trade_wrapped_or_not():
    key = CheckedStream("spot", "BTCUSDT", "aggTrade")
    wanted = CheckedTrade(key, 5000000001, 7, 9, 6168599000000, 150000, "SELL", 1723161255341000)
    assert one(AGG) == wanted
    assert one({"stream": "btcusdt@aggTrade", "data": AGG}) == wanted


def test_a_single_trade_spans_itself():
    frame = {
        "e": "trade",
        "E": 1723161255342,
        "s": "BTCUSDT",
        "t": 5,
        "p": "1",
        "q": "2",
        "T": 1723161255342001,
        "m": False,
    }
    wanted = CheckedTrade(CheckedStream("spot", "BTCUSDT", "trade"), 5, 5, 5, 10**8, 2 * 10**8, "BUY", 1723161255342001)
    assert one(frame) == wanted


def test_rest_objects_take_the_symbol_of_their_source():
    agg = {"a": 1, "p": "0.1", "q": "2", "f": 3, "l": 4, "T": 1570752011620, "m": False, "M": True}
    assert one(agg) == CheckedTrade(
        CheckedStream("spot", "XRPETH", "aggTrade"), 1, 3, 4, 10**7, 2 * 10**8, "BUY", 1570752011620000
    )
    single = {"id": 9, "price": "0.1", "qty": "2", "quoteQty": "0.2", "time": 1570752011620, "isBuyerMaker": True}
    assert one(single) == CheckedTrade(
        CheckedStream("spot", "XRPETH", "trade"), 9, 9, 9, 10**7, 2 * 10**8, "SELL", 1570752011620000
    )


def test_sentinels_are_trades():
    found = one(AGG | {"p": "0", "q": "0", "f": -1, "l": -1})
    assert isinstance(found, CheckedTrade)
    assert found.is_sentinel


def test_ticks():
    book = {"u": 77, "s": "BTCUSDT", "b": "1", "B": "1", "a": "1", "A": "1"}
    assert one(book) == TickId(CheckedStream("spot", "BTCUSDT", "bookTicker"), 77)
    mini = {"e": "24hrMiniTicker", "E": 1723161255342, "s": "BTCUSDT", **dict.fromkeys("cohlvq", "1")}
    wanted = TickId(CheckedStream("spot", "BTCUSDT", "miniTicker"), 1723161255342000)
    assert one(mini) == wanted
    assert (
        list(read_record(json.dumps({"stream": "!miniTicker@arr", "data": [mini, mini]}).encode(), SPOT))
        == [wanted] * 2
    )


@pytest.mark.parametrize(
    "document",
    [
        {"result": None, "id": 1},
        {"code": 2, "msg": "no"},
        {"lastUpdateId": 5, "bids": [], "asks": []},
        {"e": "depthUpdate", "U": 1, "u": 2, "b": [], "a": []},
        {"e": "kline", "k": {}},
        {"stream": "!serverShutdown", "data": {"e": "serverShutdown", "E": 1}},
        {"stream": "btcusdt@depth5@100ms", "data": {"lastUpdateId": 5}},
        {"stream": "btcusdt@ticker_1h", "data": {"e": "1hTicker"}},
    ],
)
def test_known_frames_that_are_not_stored_yield_nothing(document):
    assert list(read_record(json.dumps(document).encode(), SPOT)) == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"p": "1.123456789"}, "decimal_out_of_range"),
        ({"p": "abc"}, "bad_number"),
        ({"p": 1.5}, "wrong_type"),
        ({"m": "true"}, "wrong_type"),
        ({"T": 17}, "bad_time"),
        ({"f": 9, "l": 7}, "bad_id"),
    ],
)
def test_a_wrong_field_is_rejected_under_the_event_id(change, reason):
    found = one(AGG | change)
    assert isinstance(found, Rejection)
    assert (found.key, found.reason) == ("binance:spot:BTCUSDT:aggTrade:5000000001", reason)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"\xff\xfe", "not_utf8"),
        (b"{", "invalid_json"),
        (b'{"e":NaN}', "invalid_json"),
        (b"[1]", "not_an_object"),
        (b'{"e":"tickhouseNonsense"}', "unknown_event_type"),
        (b'{"e":5}', "wrong_type"),
        (b'{"x":1}', "missing_field"),
        (b'{"stream":"x","data":[]}', "not_an_object"),
        (json.dumps(AGG | {"a": -1}).encode(), "bad_id"),
        (json.dumps(AGG | {"a": {"x": 1}}).encode(), "wrong_type"),
        (json.dumps(AGG | {"s": "a b"}).encode(), "bad_symbol"),
        (json.dumps({name: value for name, value in AGG.items() if name != "a"}).encode(), "missing_field"),
    ],
)
def test_without_a_readable_id_the_key_is_the_hash_of_the_bytes(raw, reason):
    found = one(raw)
    assert isinstance(found, Rejection)
    assert (found.key, found.reason) == (f"sha256:{hashlib.sha256(raw).hexdigest()}", reason)


@given(
    st.binary(max_size=200)
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(lambda x: json.dumps(x).encode())
)
def test_malformed_input_is_rejected_and_never_raises(raw):
    assert all(isinstance(item, CheckedTrade | TickId | Rejection) for item in read_record(raw, SPOT))


@given(st.dictionaries(st.sampled_from(list(AGG)), st.none() | st.booleans() | st.integers() | st.text(max_size=5)))
def test_any_field_may_be_anything(changes):
    for item in read_record(json.dumps(AGG | changes).encode(), SPOT):
        assert isinstance(item, CheckedTrade | TickId | Rejection)
