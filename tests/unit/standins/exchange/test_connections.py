from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standins.exchange.connections import PING, PONG, TEXT, encode
from tests.unit.standins.exchange.players import FakeSocket, Player


@given(st.binary(max_size=70_000))
def test_frames_decode_to_what_was_encoded(payload: bytes) -> None:
    socket = FakeSocket()
    socket.write(encode(TEXT, payload))
    assert socket.frames() == [(TEXT, payload)]


def test_responses_are_as_documented_and_have_no_envelope() -> None:
    player = Player({})
    connection, socket = player.connect("btcusdt@aggTrade")
    for method, params in (
        ("SUBSCRIBE", ["ethusdt@aggTrade"]),
        ("LIST_SUBSCRIPTIONS", []),
        ("UNSUBSCRIBE", ["btcusdt@aggTrade"]),
        ("GET_PROPERTY", ["combined"]),
        ("SET_PROPERTY", ["combined", False]),
    ):
        player.hub.respond(connection, json.dumps({"method": method, "params": params, "id": method}))
    both = ["btcusdt@aggTrade", "ethusdt@aggTrade"]
    assert [text["result"] for text in socket.texts()] == [None, both, None, True, None]
    assert list(connection.streams) == both[1:]
    assert not connection.is_combined


def test_more_streams_than_allowed_are_refused_and_change_nothing() -> None:
    player = Player({"websocket": {"max_streams": 2}})
    connection, socket = player.connect("btcusdt@aggTrade")
    names = ["a@trade", "b@trade"]
    player.hub.respond(connection, json.dumps({"method": "SUBSCRIBE", "params": names, "id": 1}))
    assert socket.texts()[0]["code"] == 2
    assert list(connection.streams) == ["btcusdt@aggTrade"]


def test_a_sixth_message_within_a_second_closes_the_connection() -> None:
    player = Player({})
    connection, socket = player.connect("btcusdt@aggTrade")
    assert all(player.hub.count_message(connection) for _ in range(5))
    player.now_s += 1.01
    assert all(player.hub.count_message(connection) for _ in range(5))
    assert player.hub.count_message(connection, is_asked_for=True)
    assert not player.hub.count_message(connection)
    assert socket.ended == "closed"


def test_pings_are_sent_in_time_and_a_missing_pong_cuts() -> None:
    player = Player({"websocket": {"ping_interval_s": 2, "pong_timeout_s": 5}, "playback": {"start": "control"}})
    connection, socket = player.connect("btcusdt@aggTrade")
    player.run(2.1)
    (ping,) = [payload for opcode, payload in socket.frames() if opcode == PING]
    assert not connection.receive_pong(b"unasked")
    assert connection.receive_pong(ping)
    player.run(6)
    assert not socket.ended
    player.run(2)
    assert socket.ended == "aborted"


def test_a_connection_ends_with_its_lifetime() -> None:
    player = Player({"websocket": {"lifetime_s": 3}, "playback": {"start": "control"}})
    _, socket = player.connect("btcusdt@aggTrade")
    player.run(2.9)
    assert not socket.ended
    player.run(0.3)
    assert socket.ended == "closed"
    assert not [opcode for opcode, _ in socket.frames() if opcode == PONG]


@pytest.mark.parametrize(
    ("route", "kinds"),
    [
        ("market", {"aggTrade", "ticker", "kline_1m"}),
        ("public", {"trade", "bookTicker"}),
        ("", {"trade", "bookTicker"}),
    ],
)
def test_a_routed_exchange_sends_a_stream_on_its_own_address_only(route: str, kinds: set[str]) -> None:
    player = Player({"websocket": {"routed": True}})
    names = [f"btcusdt@{kind}" for kind in ("aggTrade", "ticker", "kline_1m", "trade", "bookTicker")]
    connection = player.hub.open(FakeSocket(), is_combined=True, is_micro=False, route=route)
    player.hub.subscribe(connection, names)
    assert list(connection.streams) == names
    assert {name.partition("@")[2] for name in player.hub.by_stream} == kinds
    player.hub.closed(connection)
    assert player.hub.by_stream == {}
