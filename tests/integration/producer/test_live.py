"""The live producer against a real broker and an exchange that cuts, repeats, blocks and limits."""

from __future__ import annotations

import signal
from collections import Counter

import httpx
import pytest

from common.intervals import IntervalSet
from common.settings import ports
from common.topics import TRADES
from tests.eventually import eventually
from tests.integration.producer.conftest import truth_ids
from tickhouse.status.pipeline import producer

pytestmark = pytest.mark.integration

SYMBOLS = ["BTCUSDT", "ETHUSDT", "XRPETH", "BTCFDUSD"]
TIMEOUT_S = 120


def market(*faults, speed=20, events=8000, start="subscription", **changes):
    return {
        "market": {"seed": 11, "length_s": 240, "events": events, "symbols": SYMBOLS, "bursts": [], **changes},
        "playback": {"speed": speed, "start": start, "start_after_s": 0.5},
        "faults": list(faults),
    }


CUTS = [{"kind": "cut", "at_fraction": fraction} for fraction in (0.2, 0.45, 0.75)]
REPEATS = {"kind": "repeat", "percent": 2, "at_fraction": 0}


def came_by_rest(record):
    """Return whether a trade was fetched by REST: only frames carry an event type."""
    return '"e":' not in record["raw"]


def has_all(log, exchange):
    """Return whether the run is over and every valid trade is in the log."""
    return exchange.is_done() and truth_ids(exchange) <= set(log.trade_ids())


def assert_exactly_once(log, exchange):
    found = log.trade_ids()
    assert set(found) == truth_ids(exchange)
    assert [name for name, count in found.items() if count > 1] == []


def assert_ledger_covers(log, exchange):
    """Assert that the ledger equals the log, and that no gap is open."""
    logged = {}
    for name in [*log.trade_ids(), *(key for key, _ in log.letters() if ":aggTrade:" in key)]:
        _, _, symbol, _, number = name.split(":")
        logged.setdefault(symbol, IntervalSet()).add(int(number))
    for value in log.ledger().values():
        if value["stream"] == "aggTrade" and value["writer"] == "live":
            assert [tuple(pair) for pair in value["seen"]] == list(logged[value["symbol"]])
            assert value["closed"] is True
    assert [gap for gap in log.gaps() if gap["state"] == "open"] == []


def test_cuts_and_repeats_leave_every_id_once(log, exchange, producers):
    odd = [{"kind": "sentinel", "count": 5}, {"kind": "decimals", "count": 4}]
    running = exchange(
        market(REPEATS, *CUTS, *odd, {"kind": "garbage", "count": 6, "event_s": 200, "at_fraction": 0.01})
    )
    process = producers.start(running)
    eventually(lambda: has_all(log, running), timeout_s=TIMEOUT_S, every_s=1)
    assert producers.stop(process) == 0
    assert_exactly_once(log, running)
    assert_ledger_covers(log, running)
    gaps = log.gaps()
    assert {gap["state"] for gap in gaps} == {"filled"}
    assert sum(gap["filled_ids"] for gap in gaps) > 0
    letters = Counter(headers["reason"] for key, headers in log.letters() if ":ticker:" not in key)
    assert letters["decimal_out_of_range"] >= 4
    assert sum(letters.values()) == 10
    assert {record["source"] for record in [*log.trades(), *log.ticks()]} == {"SIMULATED"}
    assert {headers["source"] for _, headers in log.letters()} == {"SIMULATED"}
    by_rest = Counter(map(came_by_rest, log.trades()))
    assert by_rest[False] > by_rest[True] > 0


def test_kill_9_and_restart_leave_every_id_once(log, exchange, producers):
    running = exchange(market(REPEATS, *CUTS))
    for wanted in (500, 3000):
        process = producers.start(running)
        log.await_records(TRADES, wanted)
        process.send_signal(signal.SIGKILL)
        assert process.wait(timeout=10) == -signal.SIGKILL
    process = producers.start(running)
    eventually(lambda: has_all(log, running), timeout_s=TIMEOUT_S, every_s=1)
    assert producers.stop(process) == 0
    assert_exactly_once(log, running)
    assert_ledger_covers(log, running)
    ticks = Counter(record["event_id"] for record in log.ticks())
    assert set(ticks.values()) == {1}


def test_blocked_websocket_is_polled_by_rest_until_it_returns(log, exchange, producers):
    blocked = {"kind": "ws_blocked", "at_boot": True, "wall_s": 15}
    running = exchange(market(blocked, speed=8, start="client"))
    process = producers.start(running)
    polled = eventually(lambda: [r for r in log.trades() if came_by_rest(r)], timeout_s=60, every_s=1)
    assert {record["symbol"] for record in polled} <= set(SYMBOLS)
    eventually(lambda: any(not came_by_rest(r) for r in log.trades()), timeout_s=60, every_s=1)
    eventually(running.is_done, timeout_s=TIMEOUT_S, every_s=1)
    seen = {value["symbol"]: value["seen"][0][0] for value in log.ledger().values() if value["stream"] == "aggTrade"}
    # A new stream begins at the first polled id; every later id must be there.
    wanted = {
        name for name in truth_ids(running) if int(name.split(":")[4]) >= seen.get(name.split(":")[2], float("inf"))
    }
    eventually(lambda: wanted <= set(log.trade_ids()), timeout_s=60, every_s=1)
    assert producers.stop(process) == 0
    assert max(log.trade_ids().values()) == 1


def test_shutdown_notice_half_open_socket_and_limits(log, exchange, producers):
    faults = [
        {"kind": "server_shutdown", "at_fraction": 0.15, "grace_s": 2},
        {"kind": "half_open", "at_fraction": 0.4, "wall_s": 60},
        {"kind": "rest_429", "at_fraction": 0.4, "requests": 3, "retry_after_s": 1},
        {"kind": "rest_418", "at_fraction": 0.4, "requests": 1, "retry_after_s": 1},
        {"kind": "microseconds", "at_fraction": 0.6, "event_s": 60},
    ]
    running = exchange(market(REPEATS, *faults, speed=10) | {"websocket": {"ping_interval_s": 1}})
    process = producers.start(running, "--silent-s", "3")
    eventually(lambda: has_all(log, running), timeout_s=TIMEOUT_S, every_s=1)
    metrics = httpx.get(f"http://127.0.0.1:{ports()['producer_metrics']}/metrics", timeout=5).text
    assert producers.stop(process) == 0
    assert_exactly_once(log, running)
    assert_ledger_covers(log, running)
    figures = dict(line.rsplit(" ", 1) for line in metrics.splitlines() if not line.startswith("#"))
    assert float(figures["tickhouse_producer_reconnects"]) >= 2
    assert float(figures["tickhouse_producer_rest_limited"]) >= 1
    assert float(figures["tickhouse_producer_gaps_open"]) == 0
    assert '"why":"serverShutdown"' in producers.said()
    assert '"why":"silent"' in producers.said()


def metrics() -> dict[str, float]:
    try:
        text = httpx.get(f"http://127.0.0.1:{ports()['producer_metrics']}/metrics", timeout=5).text
    except httpx.HTTPError:
        return {}
    lines = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return {name: float(figure) for name, figure in lines}


@pytest.mark.parametrize("by", [pytest.param("the exchange", marks=pytest.mark.long), "a proxy"])
def test_silent_streams_are_noticed_shown_and_filled(by, log, exchange, producers, broker):
    silent = {"kind": "silent", "at_fraction": 0.15, "event_s": 150}
    running = exchange(market(*([silent] if by == "the exchange" else []), speed=6))
    ws = "" if by == "the exchange" else producers.start_tool("ws_drop_proxy.py", running.ws(""), "@aggTrade", "5")
    html = producers.start_tool("rest_stub.py", f"http://{running.address}", "html", "3") if by == "a proxy" else ""
    process = producers.start(running, "--compare-every-s", "1", ws=ws, rest=html)
    lively = {f"spot/{symbol}/aggTrade" for symbol in ("BTCUSDT", "ETHUSDT")}
    eventually(lambda: lively <= set(producer(broker).get("silent_streams", ())), timeout_s=60, every_s=0.5)
    assert metrics()["tickhouse_producer_silent_streams"] >= 2
    eventually(lambda: has_all(log, running), timeout_s=TIMEOUT_S, every_s=1)
    if by == "the exchange":
        eventually(lambda: metrics()["tickhouse_producer_silent_streams"] == 0, timeout_s=60, every_s=0.5)
    assert producers.stop(process) == 0
    assert_exactly_once(log, running)
    assert_ledger_covers(log, running)
    said = producers.said()
    assert '"why":"a stream is silent"' in said
    lines = said.splitlines()
    assert sum("streams are silent while" in line for line in lines) <= len(SYMBOLS)
    assert sum("REST does not answer as it should" in line for line in lines) <= 1


def test_listed_symbols_are_taken_from_their_first_trade(log, exchange, producers):
    listed = {"kind": "new_symbol", "symbol": "TICKUSDT", "at_fraction": 0.3}
    running = exchange(market(REPEATS, listed))
    process = producers.start(running, "--symbols-every-s", "3")
    eventually(lambda: has_all(log, running), timeout_s=TIMEOUT_S, every_s=1)
    assert producers.stop(process) == 0
    assert any(":TICKUSDT:" in name for name in log.trade_ids())
    assert_exactly_once(log, running)
    assert_ledger_covers(log, running)
