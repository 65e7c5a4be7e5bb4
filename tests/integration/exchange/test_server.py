from __future__ import annotations

import hashlib
import json
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from standins.exchange.oracle import MarketOracle
from standins.exchange.synthetic_market import MarketConfig, trades
from standins.exchange.trade_columns import OUT_OF_RANGE
from tests.eventually import eventually
from tests.integration.exchange.conftest import ExchangeProcess, Start, run

pytestmark = pytest.mark.integration

MARKET: dict[str, Any] = {
    "seed": 11,
    "length_s": 120,
    "events": 6_000,
    "symbols": ["BTCUSDT", "ETHBTC", "PEPEUSDT"],
    "silent_minutes": {},
    "bursts": [],
    "sentinels": 3,
    "out_of_range": 3,
}
STREAMS = "/stream?streams=btcusdt@aggTrade/ethbtc@aggTrade/pepeusdt@aggTrade"
EVERYTHING = [(t.symbol, t.agg_id, t.price, t.qty) for t in trades(MarketConfig.model_validate(MARKET))]


def config(**parts: Any) -> dict[str, Any]:
    return {"market": MARKET, "playback": {"speed": 40, "start_after_s": 0.2}, **parts}


def dialled(exchange: ExchangeProcess, path: str, **options: Any) -> ClientConnection:
    return connect(exchange.ws(path), compression=None, proxy=None, **options)


def drained(socket: ClientConnection, is_enough: Callable[[], bool]) -> list[str | bytes]:
    """Read until `is_enough` and the connection is quiet, or until it ends."""
    found: list[str | bytes] = []
    while True:
        try:
            found.append(socket.recv(timeout=0.5))
        except TimeoutError:
            if is_enough():
                return found
        except ConnectionClosed:
            return found


def rows(messages: list[str | bytes]) -> list[tuple[Any, ...]]:
    events = [json.loads(text).get("data", {}) for text in messages]
    return [(e["s"], e["a"], e["p"], e["q"]) for e in events if e.get("e") == "aggTrade"]


def test_a_client_gets_the_whole_market_and_rest_gives_the_same(exchange: Start) -> None:
    server = exchange(config())
    with dialled(server, STREAMS) as socket:
        found = rows(drained(socket, server.is_done))
    assert found == EVERYTHING
    from_id, paged = 0, []
    while page := server.get(f"/api/v3/aggTrades?symbol=BTCUSDT&fromId={from_id}&limit=1000").json():
        paged += [("BTCUSDT", t["a"], t["p"], t["q"]) for t in page]
        from_id = page[-1]["a"] + 1
    assert paged == [row for row in EVERYTHING if row[0] == "BTCUSDT"]


def test_subscribe_ack_list_and_errors(exchange: Start) -> None:
    server = exchange(config(playback={"start": "control"}))
    with dialled(server, "/ws") as socket:
        answers = []
        for message in (
            '{"method":"SUBSCRIBE","params":["btcusdt@aggTrade"],"id":1}',
            '{"method":"LIST_SUBSCRIPTIONS","id":"two"}',
            '{"method":"SET_PROPERTY","params":["combined",true],"id":null}',
            "{nonsense",
        ):
            socket.send(message)
            answers.append(json.loads(socket.recv(timeout=5)))
        assert answers[:3] == [
            {"result": None, "id": 1},
            {"result": ["btcusdt@aggTrade"], "id": "two"},
            {"result": None, "id": None},
        ]
        assert answers[3]["code"] == 3
        httpx.post(f"http://{server.address}/tickhouse/start", timeout=5).raise_for_status()
        assert json.loads(socket.recv(timeout=5))["stream"] == "btcusdt@aggTrade"


def test_a_raw_stream_starts_the_market_and_has_no_envelope(exchange: Start) -> None:
    server = exchange(config())
    with dialled(server, "/ws/btcusdt@aggTrade?timeUnit=MICROSECOND") as socket:
        event = json.loads(socket.recv(timeout=5))
    assert event["e"] == "aggTrade"
    assert len(str(event["T"])) == 16


def test_a_client_that_sends_pongs_stays_and_one_that_does_not_is_cut(exchange: Start) -> None:
    rules = {"ping_interval_s": 0.2, "pong_timeout_s": 0.8}
    server = exchange(config(websocket=rules, playback={"start": "control"}))
    with dialled(server, STREAMS) as alive, dialled(server, STREAMS) as dead:
        dead.protocol.receive_data = lambda data: None  # type: ignore[method-assign]
        eventually(lambda: server.state()["connections"] == 1, 10, 0.1)
        with pytest.raises(TimeoutError):
            alive.recv(timeout=1.0)


def test_too_many_messages_close_with_a_policy_violation(exchange: Start) -> None:
    server = exchange(config(playback={"start": "control"}))
    with dialled(server, STREAMS) as socket:

        def ask_until_closed() -> None:  # the server may close before the last message is sent
            for number in range(7):
                socket.send(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": number}))
            deque(iter(lambda: socket.recv(timeout=5), None))

        with pytest.raises(ConnectionClosedError) as caught:
            ask_until_closed()
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1008


def test_cuts_are_abrupt_and_what_was_missed_is_in_rest(exchange: Start) -> None:
    server = exchange(config(faults=[{"kind": "cut", "at_s": 30}, {"kind": "cut", "at_s": 80}]))
    found: list[tuple[Any, ...]] = []
    for _ in range(3):
        with dialled(server, STREAMS) as socket:
            found += rows(drained(socket, server.is_done))
            assert socket.close_code in (1000, None, 1006)
    lost = set(EVERYTHING) - set(found)
    assert lost
    for symbol, trade_id, price, qty in lost:
        (row,) = server.get(f"/api/v3/aggTrades?symbol={symbol}&fromId={trade_id}&limit=1").json()
        assert (row["a"], row["p"], row["q"]) == (trade_id, price, qty)
    assert server.truth()["counts"]["cuts"] == 2


def test_repeats_acks_and_malformed_frames_are_all_recorded(exchange: Start) -> None:
    noise = [
        {"kind": "repeat", "percent": 5},
        {"kind": "acks", "count": 4},
        {"kind": "garbage", "count": 3, "at_s": 5, "event_s": 30},
    ]
    server = exchange(config(faults=noise, playback={"speed": 20, "start_after_s": 0.2}))
    with dialled(server, STREAMS) as socket:
        messages = drained(socket, server.is_done)
    truth = server.truth()
    garbage = {one["sha256"] for one in truth["garbage"] if one["delivered_at_us"] is not None}
    raw = [m.encode() if isinstance(m, str) else m for m in messages]
    assert len(garbage) == 3
    assert garbage <= {hashlib.sha256(payload).hexdigest() for payload in raw}
    whole = [m for m, payload in zip(messages, raw, strict=True) if hashlib.sha256(payload).hexdigest() not in garbage]
    found = rows(whole)
    assert list(dict.fromkeys(found)) == EVERYTHING
    assert len(found) - len(EVERYTHING) == truth["counts"]["repeats"] > 0
    assert truth["frames"]["aggTrade"] == len(found)
    assert sum('"result"' in str(m) for m in whole) == truth["counts"]["acks_unasked"] == 4


def test_the_file_holds_the_run_record_and_gives_the_oracle(exchange: Start) -> None:
    server = exchange(config())
    with dialled(server, STREAMS) as socket:
        found = rows(drained(socket, server.is_done))
    path = server.home / "truth" / "exchange.json"
    document = eventually(lambda: (d := json.loads(path.read_text()))["state"] == "done" and d, 5, 0.1)
    truth = MarketOracle.from_document(document)
    ids = {(t.symbol, t.trade_id) for t in truth.trades()} | {(t.symbol, t.trade_id) for t in truth.rejections()}
    assert ids == {(symbol, trade_id) for symbol, trade_id, _, _ in found}
    assert len(list(truth.rejections())) == 3 == sum(t.flag == OUT_OF_RANGE for t in trades(truth.market.config))


def test_weights_429_and_418(exchange: Start) -> None:
    window_s = 8
    server = exchange(config(rest={"weight_per_window": 20, "window_s": window_s, "ban_after": 1, "ban_s": 2}))
    path = "/api/v3/aggTrades?symbol=BTCUSDT&limit=1"
    # Windows follow the machine's monotonic clock. Begin early in one, so that all requests are in
    # it.
    eventually(lambda: time.monotonic() % window_s < 2, window_s, 0.05)
    answers = [server.get(path) for _ in range(8)]
    statuses = [answer.status_code for answer in answers]
    assert statuses == [200] * 5 + [429, 418, 418]
    assert answers[4].headers["X-MBX-USED-WEIGHT-1M"] == "20"
    limited, banned = answers[5], answers[6]
    assert 1 <= int(limited.headers["Retry-After"]) <= window_s
    assert int(banned.headers["Retry-After"]) == 2
    assert limited.json()["code"] == banned.json()["code"] == -1003
    eventually(lambda: server.get(path).status_code == 200, 10, 0.2)


def test_live_rest_faults_and_errors(exchange: Start) -> None:
    server = exchange(config())
    server.fault(kind="rest_429", requests=2, retry_after_s=4)
    answers = [server.get("/api/v3/time") for _ in range(3)]
    assert [a.status_code for a in answers] == [429, 429, 200]
    assert answers[0].headers["Retry-After"] == "4"
    wrong = server.get("/api/v3/aggTrades?symbol=NOSUCH")
    assert (wrong.status_code, wrong.json()) == (400, {"code": -1121, "msg": "Invalid symbol."})
    refused = httpx.post(f"http://{server.address}/tickhouse/fault", json={"kind": "sentinel", "count": 1}, timeout=5)
    assert refused.status_code == 400
    micro = server.get("/api/v3/time", **{"X-MBX-TIME-UNIT": "MICROSECOND"}).json()["serverTime"]
    assert len(str(micro)) == 16


def test_refused_and_blocked_connections(exchange: Start) -> None:
    server = exchange(config(playback={"start": "client", "speed": 40}))
    server.fault(kind="ws_blocked", wall_s=4)
    with pytest.raises(InvalidStatus) as caught:
        dialled(server, STREAMS)
    assert caught.value.response.status_code == 403
    assert server.state()["state"] == "waiting"
    server.get("/api/v3/aggTrades?symbol=BTCUSDT")
    eventually(lambda: server.get("/api/v3/aggTrades?symbol=BTCUSDT").json(), 30, 0.1)
    server.fault(kind="refuse", wall_s=4)
    with pytest.raises(httpx.TransportError):
        server.get("/api/v3/ping")
    assert server.state()["state"] == "playing"
    eventually(lambda: _is_up(server), 30, 0.1)


def _is_up(server: ExchangeProcess) -> bool:
    try:
        return server.get("/api/v3/ping").status_code == 200
    except httpx.TransportError:
        return False


def test_half_open_stays_silent_and_open(exchange: Start) -> None:
    server = exchange(config(playback={"speed": 1}, websocket={"ping_interval_s": 0.3}))
    with dialled(server, STREAMS) as socket:
        socket.recv(timeout=5)
        server.fault(kind="half_open", wall_s=4)
        with pytest.raises(TimeoutError):
            deque(iter(lambda: socket.recv(timeout=0.7), None))
        assert server.state()["connections"] == 1
        assert socket.recv(timeout=30)


def test_live_times_are_the_wall_clock(exchange: Start) -> None:
    server = exchange(config(playback={"speed": 1, "live_times": True}))
    lags_ms = []
    with dialled(server, STREAMS) as socket:
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline:
            event = json.loads(socket.recv(timeout=5))["data"]
            lags_ms.append(time.time_ns() // 1_000_000 - event["E"])
    # Frames may be late on a busy machine; times of the recording's own day would be days off.
    assert 0 <= sorted(lags_ms)[len(lags_ms) // 2] <= 1000


def test_usdm_is_served_under_its_own_path(exchange: Start) -> None:
    server = exchange(config(market=MARKET | {"market": "usdm"}))
    with dialled(server, STREAMS) as socket:
        event = json.loads(socket.recv(timeout=5))["data"]
    assert "M" not in event
    page = eventually(lambda: server.get("/fapi/v1/aggTrades?symbol=BTCUSDT&limit=2").json(), 30, 0.1)
    assert "M" not in page[0]
    assert server.get("/api/v3/time").status_code == 404


def test_a_recorded_capture_plays_and_rest_follows(exchange: Start, tmp_path: Path) -> None:
    lines = [f'{{"a":{n},"p":"1.50000000","q":"2.00000000","f":{n},"l":{n},"T":{1_704_067_200_000 + n},"m":true}}'
             for n in range(50)]  # fmt: skip
    path = tmp_path / "XRPETH_aggTrades.jsonl"
    path.write_text("\n".join(lines))
    files = {"files": [str(path)], "symbol": "XRPETH"}
    server = exchange({"capture": files, "playback": {"speed": "max"}})
    with dialled(server, "/ws/xrpeth@aggTrade") as socket:
        found = [json.loads(m)["a"] for m in drained(socket, server.is_done)]
    assert found == list(range(50))
    assert len(server.get("/api/v3/aggTrades?symbol=XRPETH").json()) == 50
    assert server.truth()["source"] == "capture"
    assert "X-Tickhouse-Market" not in server.get("/api/v3/time").headers  # a capture holds real trades


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--listen", "nowhere"], 2, "HOST:PORT"),
        (["--listen", "127.0.0.1:0", "--config", "missing.yaml"], 2, "missing.yaml"),
        (["--help"], 0, ""),
    ],
)
def test_the_command_line_says_what_is_wrong(tmp_path: Path, arguments: list[str], code: int, words: str) -> None:
    process = run(arguments, tmp_path)
    output, errors = process.communicate(timeout=30)
    assert (process.returncode, "Traceback" in errors) == (code, False)
    assert words in errors
    assert bool(output) == (code == 0)


def test_a_taken_port_is_an_error_of_its_own(exchange: Start, tmp_path: Path) -> None:
    server = exchange(config())
    process = run(["--listen", server.address], tmp_path)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, "cannot listen" in errors) == (21, True)


def test_every_response_of_a_synthetic_market_is_marked(exchange: Start) -> None:
    running = exchange(config(faults=[{"kind": "rest_418", "requests": 1, "retry_after_s": 1, "at_boot": True}]))
    paths = ("/api/v3/time", "/api/v3/time", "/api/v3/aggTrades?symbol=NONE", "/none", "/tickhouse/state")
    answers = [running.get(path) for path in paths]
    assert [answer.status_code for answer in answers] == [418, 200, 400, 404, 200]
    assert {answer.headers.get("X-Tickhouse-Market") for answer in answers} == {"SIMULATED"}
    with dialled(running, "/ws") as socket:
        assert socket.response is not None
        assert socket.response.headers["X-Tickhouse-Market"] == "SIMULATED"


def test_the_speed_is_set_from_outside(exchange: Start) -> None:
    running = exchange(config())
    with dialled(running, STREAMS):
        eventually(lambda: running.state()["state"] == "playing", timeout_s=20)
        address = f"http://{running.address}/tickhouse/pace"
        assert httpx.post(address, json={"speed": 0}, timeout=10).json()["speed"] == 0
        stood = running.state()["event_time_us"]
        for wrong in ({"speed": -1}, {"speed": "fast"}, {"pace": 1}, {}):
            assert httpx.post(address, json=wrong, timeout=10).status_code == 400
        assert running.state()["event_time_us"] == stood
        assert httpx.post(address, json={"speed": "max"}, timeout=10).json()["speed"] == "max"


def test_no_page_of_a_browser_may_use_the_exchange(exchange: Start) -> None:
    """Not even by a WebSocket, which browsers open across sites without asking."""
    running = exchange(config())
    own = f"http://{running.address}"

    with dialled(running, STREAMS, origin=own):
        pass
    with pytest.raises(InvalidStatus, match="403"):
        dialled(running, STREAMS, origin="http://evil.example")
    assert running.get("/api/v3/ping", Origin="null").status_code == 403
    assert running.get("/api/v3/ping", Host="evil.example").status_code == 421
    assert (
        httpx.post(f"{own}/tickhouse/fault", content="{}", headers={"Origin": "http://evil.example"}).status_code == 403
    )
