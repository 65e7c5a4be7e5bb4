from __future__ import annotations

import hashlib
import json
from itertools import pairwise
from typing import Any

import pytest

from standins.exchange.faults import Cut, Delay, HalfOpen, Microseconds, ServerShutdown, Silent
from standins.exchange.playback import TIMED_BACKLOG_BYTES
from standins.exchange.synthetic_market import SECOND, iterate
from tests.unit.standins.exchange.markets import SMALL, small
from tests.unit.standins.exchange.players import FakeSocket, Player

ALL = tuple(f"{name.lower()}@aggTrade" for name in small().tables)
EVERYTHING = [(t.symbol, t.agg_id, t.price, t.qty, t.time_us // 1_000) for t in iterate(small())]


def agg_trades(socket: FakeSocket) -> list[tuple[Any, ...]]:
    events = [text["data"] for text in socket.texts() if "data" in text]
    return [(e["s"], e["a"], e["p"], e["q"], e["T"]) for e in events if e.get("e") == "aggTrade" and "M" in e]


def test_everything_is_played_once_in_order_then_done() -> None:
    player = Player({"playback": {"speed": 20}})
    _, socket = player.connect(*ALL)
    player.run(15.5)
    assert player.playback.state == "done"
    assert agg_trades(socket) == EVERYTHING


def test_a_stream_gets_its_symbol_only_and_raw_frames_have_no_envelope() -> None:
    player = Player({"playback": {"speed": 20}})
    _, socket = player.connect("btcusdt@aggTrade", is_combined=False)
    player.run(5)
    assert {event["s"] for event in socket.texts()} == {"BTCUSDT"}


def test_event_time_passes_at_the_given_speed() -> None:
    player = Player({"playback": {"speed": 2}})
    player.connect(*ALL)
    player.run(10)
    passed_s = (player.playback.now_us - SMALL.start_us) / SECOND
    assert 19.5 <= passed_s <= 20


def test_the_speed_changes_while_the_market_plays_and_nothing_is_lost() -> None:
    player = Player({"playback": {"speed": 20}})
    _, socket = player.connect(*ALL)
    player.run(2)
    player.playback.set_speed(0)
    player.run(0.1)
    stood = player.playback.now_us
    player.run(30)
    assert player.playback.now_us == stood
    assert player.playback.state == "playing"
    player.playback.set_speed(10)
    player.run(1)
    assert player.playback.now_us - stood == pytest.approx(10 * SECOND, rel=0.02)
    player.playback.set_speed("max")
    player.run(30)
    assert player.playback.state == "done"
    assert agg_trades(socket) == EVERYTHING


def test_nothing_plays_before_the_start_and_the_delay_after_it() -> None:
    player = Player({"playback": {"speed": 20, "start": "control", "start_after_s": 2}})
    _, socket = player.connect(*ALL)
    player.run(3)
    assert player.playback.state == "waiting"
    player.playback.start()
    player.run(1.5)
    assert player.playback.state == "waiting"
    player.run(1)
    assert player.playback.state == "playing"
    assert agg_trades(socket)


def test_repeats_are_identical_adjacent_and_their_share_is_as_asked() -> None:
    player = Player({"playback": {"speed": 20}, "faults": [{"kind": "repeat", "percent": 2}]})
    _, socket = player.connect(*ALL)
    player.run(15.5)
    found = agg_trades(socket)
    again = [b for a, b in pairwise(found) if a == b]
    assert list(dict.fromkeys(found)) == EVERYTHING
    assert len(found) - len(EVERYTHING) == len(again) == player.playback.counts["repeats"]
    assert 0.01 < len(again) / len(EVERYTHING) < 0.03


def test_the_same_script_gives_the_same_frames_however_the_clock_ticks() -> None:
    faults = [{"kind": "repeat", "percent": 5}, {"kind": "microseconds", "at_fraction": 0.5}]
    seen = []
    for every_s in (0.05, 0.013):
        player = Player({"playback": {"speed": 20}, "faults": faults})
        _, socket = player.connect(*ALL)
        player.run(15.6, every_s)
        seen.append(agg_trades(socket))
    assert seen[0] == seen[1]


def test_reordering_swaps_frames_and_loses_none() -> None:
    player = Player({"playback": {"speed": 20}, "faults": [{"kind": "reorder", "percent": 10}]})
    _, socket = player.connect(*ALL)
    player.run(15.5)
    found = agg_trades(socket)
    assert found != EVERYTHING
    assert sorted(found) == sorted(EVERYTHING)


def test_a_cut_sends_no_close_frame_and_loses_what_is_played_meanwhile() -> None:
    player = Player({"playback": {"speed": 20}, "faults": [{"kind": "cut", "at_s": 100}]})
    connection, socket = player.connect(*ALL)
    player.run(5.1)
    assert socket.ended == "aborted"
    assert not any(opcode == 0x8 for opcode, _ in socket.frames())
    player.hub.closed(connection)
    player.run(2)
    _, second = player.connect(*ALL)
    player.run(9)
    both = agg_trades(socket) + agg_trades(second)
    assert both == list(dict.fromkeys(both))
    lost = sorted(set(EVERYTHING) - set(both))
    cut_ms = SMALL.start_us // 1_000 + 100_000
    assert lost
    assert all(cut_ms < t[4] < cut_ms + 45_000 for t in lost)


def test_half_open_is_silent_stays_open_and_recovers() -> None:
    player = Player({"playback": {"speed": 20}, "websocket": {"ping_interval_s": 0.5}})
    connection, socket = player.connect(*ALL)
    player.run(2)
    player.playback.inject(HalfOpen(kind="half_open", wall_s=3))
    player.run(0.1)
    size = len(socket.written)
    player.run(2.5)
    assert len(socket.written) == size
    assert not socket.ended
    player.run(1)
    assert len(socket.written) > size
    assert connection.is_open


def test_a_delay_holds_frames_back_while_rest_goes_on() -> None:
    player = Player({"playback": {"speed": 20}})
    _, socket = player.connect(*ALL)
    player.run(1)
    player.playback.inject(Delay(kind="delay", event_s=60))
    player.run(0.1)
    size, played = len(agg_trades(socket)), player.playback.now_us
    player.run(2)
    assert len(agg_trades(socket)) == size
    assert player.playback.now_us > played + 30 * SECOND
    player.run(12.5)
    assert agg_trades(socket) == EVERYTHING


def test_a_silent_stream_sends_nothing_while_the_others_continue() -> None:
    player = Player({"playback": {"speed": 20}})
    _, socket = player.connect(*ALL, "btcusdt@ticker")
    player.run(1)
    player.playback.inject(Silent(kind="silent", event_s=60))
    player.run(0.1)
    size, texts, played = len(agg_trades(socket)), len(socket.texts()), player.playback.now_us
    player.run(2)
    assert len(agg_trades(socket)) == size
    assert len(socket.texts()) > texts
    assert player.playback.now_us > played + 30 * SECOND
    player.run(12.5)
    assert size < len(agg_trades(socket)) < len(EVERYTHING)
    assert player.playback.counts["frames_not_sent"] == len(EVERYTHING) - len(agg_trades(socket))


def test_microseconds_switch_the_unit_and_not_the_instant() -> None:
    player = Player({"playback": {"speed": 20}})
    _, socket = player.connect(*ALL)
    player.run(1)
    player.playback.inject(Microseconds(kind="microseconds", event_s=60))
    player.run(14.5)
    times = [(e["E"], e["T"]) for e in (text["data"] for text in socket.texts())]
    assert {len(str(t)) for pair in times for t in pair} == {13, 16}
    instants = [t if t > 10**14 else t * 1_000 for _, t in times]
    assert instants == [t[4] * 1_000 for t in EVERYTHING]


def test_a_micro_connection_and_a_milli_one_get_the_same_events() -> None:
    player = Player({"playback": {"speed": 20}})
    (_, milli), (_, micro) = player.connect(*ALL), player.connect(*ALL, is_micro=True)
    player.run(15.5)
    assert agg_trades(milli) == EVERYTHING
    assert agg_trades(micro) == [(*t[:4], t[4] * 1_000) for t in EVERYTHING]


def test_malformed_frames_are_recorded_by_hash_and_read_before_a_cut() -> None:
    faults = [{"kind": "garbage", "count": 7, "at_s": 20, "event_s": 60}, {"kind": "cut", "at_s": 81}]
    player = Player({"playback": {"speed": 20}, "faults": faults})
    connection, socket = player.connect(*ALL)
    while not socket.ended:
        player.run(0.05)
        player.answer_pings(connection, socket)
    player.hub.closed(connection)
    player.run(1)
    offered = player.playback.malformed_frames.offered
    sent = {hashlib.sha256(payload).hexdigest() for _, payload in socket.frames()}
    assert {one.sha256 for one in offered} <= sent
    cut_us = next(one["wall_us"] for one in player.playback.fired if one["kind"] == "cut")
    assert all(one.delivered_at_us is not None for one in offered)
    assert all(cut_us - one.written_at_us >= 1_000_000 for one in offered)
    assert len({one.sha256 for one in offered}) == len(offered)
    assert len(offered) + len(player.playback.malformed_frames.pending) == 7


def test_a_malformed_frame_waits_for_an_idle_client_of_one_second() -> None:
    player = Player({"playback": {"speed": 1}, "faults": [{"kind": "garbage", "count": 1, "event_s": 0.1}]})
    _, socket = player.connect(*ALL)
    player.run(0.9)
    assert not player.playback.malformed_frames.offered
    socket.backlog = 1
    player.run(2)
    assert not player.playback.malformed_frames.offered
    socket.backlog = 0
    player.run(0.1)
    assert len(player.playback.malformed_frames.offered) == 1


def test_a_shutdown_is_announced_and_followed_by_a_close() -> None:
    player = Player({"playback": {"speed": 20}})
    _, socket = player.connect(*ALL)
    player.run(1)
    player.playback.inject(ServerShutdown(kind="server_shutdown", grace_s=1))
    player.run(0.2)
    assert [t for t in socket.texts() if t["stream"] == "!serverShutdown"]
    assert not socket.ended
    player.run(1)
    assert socket.ended == "closed"
    assert socket.frames()[-1][0] == 0x8


def test_a_slow_client_stalls_the_market_or_is_cut() -> None:
    for slow_client, ended in (("stall", ""), ("cut", "aborted")):
        player = Player({"playback": {"speed": 20, "slow_client": slow_client}})
        _, socket = player.connect(*ALL)
        player.run(1)
        socket.backlog = TIMED_BACKLOG_BYTES + 1
        before_us = player.playback.now_us
        player.run(1)
        assert socket.ended == ended
        assert (player.playback.now_us == before_us) == (slow_client == "stall")


def test_max_speed_waits_for_the_client_and_then_plays_all() -> None:
    player = Player({"playback": {"speed": "max"}})
    connection, socket = player.connect(*ALL)
    player.run(0.2)
    socket.backlog = 10**6
    before_us = player.playback.now_us
    player.run(0.5)
    assert player.playback.now_us == before_us
    socket.backlog = 0
    while player.playback.step():
        pass
    assert agg_trades(socket) == EVERYTHING
    assert connection.is_open


def test_live_times_start_now_and_frames_have_the_wall_clock() -> None:
    player = Player({"playback": {"speed": 1, "live_times": True}})
    _, socket = player.connect(*ALL)
    player.run(0.05)
    started_us = player.playback.started_at_us
    player.run(10)
    assert started_us is not None
    events = [text["data"] for text in socket.texts()]
    assert events
    for event in events:
        assert 0 <= event["E"] - event["T"] <= 50
        assert started_us // 1_000 <= event["T"] <= player.wall_us() // 1_000
    assert player.playback.source.start_us == started_us // 1_000 * 1_000


def test_tickers_klines_and_books_follow_the_trades() -> None:
    player = Player({"playback": {"speed": 20}})
    streams = [f"btcusdt@{kind}" for kind in ("ticker", "miniTicker", "bookTicker", "kline_1m", "trade")]
    _, socket = player.connect(*streams, "xrpeth@kline_1m", "!miniTicker@arr")
    player.run(15.5)
    seen: dict[str, list[Any]] = {}
    for text in socket.texts():
        seen.setdefault(text["stream"], []).append(text["data"])
    assert {e["x"] for e in (k["k"] for k in seen["btcusdt@kline_1m"])} == {True}
    flat = [e["k"] for e in seen["xrpeth@kline_1m"] if e["k"]["n"] == 0]
    assert len(flat) == 2
    assert "e" not in seen["btcusdt@bookTicker"][0]
    updates = [e["u"] for e in seen["btcusdt@bookTicker"]]
    assert updates == sorted(set(updates))
    assert [e["E"] % 1_000 for e in seen["btcusdt@ticker"]] == [0] * len(seen["btcusdt@ticker"])
    ids = [e["t"] for e in seen["btcusdt@trade"]]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert all(isinstance(e, list) for e in seen["!miniTicker@arr"])


def test_unrequested_acks_have_no_envelope() -> None:
    player = Player({"playback": {"speed": 20}, "faults": [{"kind": "acks", "count": 5}]})
    _, socket = player.connect(*ALL)
    player.run(15.5)
    acks = [text for text in socket.texts() if "result" in text]
    assert len(acks) == 5
    assert {ack["result"] for ack in acks} == {None}


def test_a_live_cut_hits_the_oldest_connections_first() -> None:
    player = Player({"playback": {"speed": 20}})
    (_, first), (_, second) = player.connect(*ALL), player.connect(*ALL)
    player.run(1)
    player.playback.inject(Cut(kind="cut", count=1))
    player.run(0.1)
    assert (first.ended, second.ended) == ("aborted", "")


@pytest.mark.parametrize("fault", [{"kind": "refuse", "wall_s": 2}, {"kind": "ws_blocked", "wall_s": 2}])
def test_faults_at_boot_fire_before_the_market_plays(fault: dict[str, Any]) -> None:
    player = Player({"faults": [fault | {"at_boot": True}]})
    holds = player.playback.is_refused if fault["kind"] == "refuse" else player.playback.is_blocked
    assert holds(player.now_s + 1)
    assert not holds(player.now_s + 3)


def test_the_run_record_is_json() -> None:
    from standins.exchange import run_record
    from standins.exchange.rest_server import RestServer

    player = Player({"playback": {"speed": 20}, "faults": [{"kind": "garbage", "count": 2, "event_s": 30}]})
    player.connect(*ALL)
    player.run(5)
    document = run_record.describe_run(player.playback, RestServer(player.playback, player.limiter), 1)
    assert json.loads(json.dumps(document))["market"]["seed"] == SMALL.seed
    assert document["frames"]["aggTrade"] > 0
    assert document["played_until_us"] == player.playback.now_us
