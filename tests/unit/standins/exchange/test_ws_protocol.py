from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standins.exchange.ws_protocol import ProtocolError, is_stream, parse_request, property_of, stream_names, success


@pytest.mark.parametrize("request_id", [1, -(2**63), 2**63 - 1, None, "abc-123", "x" * 36])
def test_valid_ids_come_back_unchanged(request_id: object) -> None:
    text = json.dumps({"method": "SUBSCRIBE", "params": ["btcusdt@aggTrade"], "id": request_id})
    request = parse_request(text)
    assert stream_names(request) == ["btcusdt@aggTrade"]
    assert json.loads(success(None, request.request_id)) == {"result": None, "id": request_id}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", 3),
        ("nonsense", 3),
        ("[1]", 2),
        ('{"id":1}', 2),
        ('{"method":"BUY","id":1}', 2),
        ('{"method":"SUBSCRIBE","params":["a@b"],"id":1.5}', 2),
        ('{"method":"SUBSCRIBE","params":["a@b"],"id":true}', 2),
        (json.dumps({"method": "SUBSCRIBE", "params": ["a@b"], "id": "x" * 37}), 2),
        ('{"method":"SUBSCRIBE","params":"a@b","id":1}', 2),
    ],
)
def test_wrong_messages_have_the_documented_code(text: str, code: int) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse_request(text)
    assert json.loads(caught.value.response())["code"] == code


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("SET_PROPERTY", ["nonsense", True], 0),
        ("GET_PROPERTY", ["nonsense"], 0),
        ("SET_PROPERTY", ["combined", "yes"], 1),
        ("SET_PROPERTY", [1, True], 2),
        ("GET_PROPERTY", [], 2),
    ],
)
def test_wrong_properties_have_the_documented_code(method: str, params: list[object], code: int) -> None:
    request = parse_request(json.dumps({"method": method, "params": params, "id": 5}))
    with pytest.raises(ProtocolError) as caught:
        property_of(request)
    answer = json.loads(caught.value.response())
    assert (answer["code"], answer["id"]) == (code, 5)


def test_a_stream_that_is_no_string_is_a_wrong_type() -> None:
    request = parse_request('{"method":"SUBSCRIBE","params":[7],"id":1}')
    with pytest.raises(ProtocolError) as caught:
        stream_names(request)
    assert caught.value.code == 1


def test_non_ascii_symbols_and_kline_offsets_are_streams() -> None:
    assert all(map(is_stream, ["币安人生usdt@aggTrade", "btcusdt@kline_1d@+08:00", "!miniTicker@arr"]))
    assert not is_stream("btcusdt")


@given(st.text() | st.binary())
def test_no_input_raises_anything_else(text: str | bytes) -> None:
    with suppress(ProtocolError):
        parse_request(text)
