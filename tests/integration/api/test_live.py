"""The live stream: resume, loss, slow clients, alerts, a stop, and the sinks that feed it."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import psycopg
import pytest
import redis

from api.principals import KEY_HEADER
from common.clients.live_stream import KEY, MOST_ENTRIES, TRADE, entry
from tests.eventually import eventually
from tests.integration.api.conftest import START_US, Api, own_process, write_latest
from tests.unit.spark.trades import Trade

pytestmark = pytest.mark.integration


@dataclass
class Client:
    """Reads server-sent events in a thread; `events` has (id, event, data)."""

    url: str
    headers: dict[str, str]
    events: list[tuple[str, str, Any]] = field(default_factory=list)
    is_open: bool = False
    is_ended: bool = False

    def read(self) -> None:
        current: dict[str, str] = {}
        try:
            with httpx.stream("GET", self.url, headers=self.headers, timeout=120, trust_env=False) as answer:
                assert answer.status_code == 200, answer.read()
                self.is_open = True
                for line in answer.iter_lines():
                    name, _, value = line.partition(": ")
                    if line:
                        current[name] = value
                    elif "event" in current:
                        self.events.append((current.get("id", ""), current["event"], json.loads(current["data"])))
                        current = {}
                    else:
                        current = {}
        except httpx.RemoteProtocolError:
            pass
        self.is_ended = True

    @property
    def prices(self) -> list[str]:
        return [data["price"] for _, event, data in list(self.events) if event == TRADE]


@contextmanager
def following(api: Api, query: str = "", last: str | None = None) -> Iterator[Client]:
    """Follow the stream; the client ends with the server, or when its thread is left alone."""
    headers = {KEY_HEADER: api.settings.api_read_key.get_secret_value()}
    if last is not None:
        headers["Last-Event-ID"] = last
    client = Client(f"{api.url}/v1/live{query}", headers)
    thread = threading.Thread(target=client.read, daemon=True)
    thread.start()
    eventually(lambda: client.is_open)
    yield client


def add(api: Api, prices: list[str], symbol: str = "APIUSDT") -> list[str]:
    """Add trades to the stream and return their ids."""
    with redis.Redis.from_url(api.settings.redis_dsn(), decode_responses=True) as client:
        fields = [entry(TRADE, "spot", symbol, {"price": price}) for price in prices]
        return [client.xadd(KEY, one, maxlen=MOST_ENTRIES, approximate=True) for one in fields]  # type: ignore[misc]


@pytest.fixture(scope="module")
def server(api: Api) -> Iterator[Api]:
    """A process of its own, which the tests below end with."""
    with own_process() as (made, _):
        eventually(lambda: made.get("/v1/live", kinds="x").status_code == 404)
        yield made


def test_events_come_once_and_in_order_and_a_client_resumes(server: Api) -> None:
    ids = add(server, ["0.1"])
    with following(server, "?symbol=APIUSDT", last=ids[0]) as first:
        ids += add(server, [f"1.{n}" for n in range(50)])
        eventually(lambda: len(first.prices) == 50)
        assert first.prices == [f"1.{n}" for n in range(50)]
        assert [number for number, *_ in first.events] == ids[1:]
    away = add(server, [f"2.{n}" for n in range(700)])
    with following(server, "?symbol=APIUSDT&kinds=trade", last=ids[-1]) as again:
        eventually(lambda: len(again.prices) == 700)
        assert [number for number, *_ in again.events] == away
        assert not [event for _, event, _ in again.events if event == "lost"]


def test_only_what_a_client_wants(server: Api) -> None:
    start = add(server, ["0"])[0]
    add(server, ["3.1"], symbol="OTHERUSDT")
    add(server, ["3.2"])
    with following(server, "?symbol=APIUSDT", last=start) as client:
        eventually(lambda: client.prices == ["3.2"])
    with (
        following(server, "?kinds=alert", last=start) as client,
        following(server, "?market=usdm", last=start) as other,
    ):
        with following(server, last=start) as everything:
            eventually(lambda: everything.prices == ["3.1", "3.2"])
        assert client.prices == other.prices == []


def test_what_redis_has_trimmed_is_said_to_be_lost(server: Api) -> None:
    ids = add(server, [f"4.{n}" for n in range(10)])
    with following(server, "?symbol=APIUSDT", last=ids[2]) as late:
        eventually(lambda: len(late.prices) == 7)
    with redis.Redis.from_url(server.settings.redis_dsn()) as client:
        client.xtrim(KEY, maxlen=3, approximate=False)
    with following(server, "?symbol=APIUSDT", last=ids[2]) as kept:
        eventually(lambda: len(kept.prices) == 7)  # this process still has them
        assert not [event for _, event, _ in kept.events if event == "lost"]
    with own_process() as (fresh, _):
        eventually(lambda: fresh.get("/v1/live", kinds="x").status_code == 404)
        with following(fresh, "?symbol=APIUSDT", last=ids[2]) as late:
            eventually(lambda: len(late.prices) == 3)
            assert late.events[0] == ("", "lost", {"from": ids[2], "to": ids[7]})
            assert late.prices == ["4.7", "4.8", "4.9"]
        with following(fresh, "?symbol=APIUSDT", last=ids[8]) as current:
            eventually(lambda: current.prices == ["4.9"])
            assert len(current.events) == 1


@pytest.mark.parametrize("last", ["x", "1", "-", "1-", "9" * 30 + "-0", "1-1-1", "0x1-0"])
def test_a_wrong_resume_point_is_refused(server: Api, last: str) -> None:
    answer = server.client.get("/v1/live", headers={"Last-Event-ID": last})
    assert answer.status_code == 400


def test_an_id_of_the_future_does_not_make_a_client_wait_for_it(server: Api) -> None:
    with following(server, "?symbol=APIUSDT", last="9999999999999999-0") as client:
        add(server, ["5.1"])
        eventually(lambda: client.prices == ["5.1"])


def slow_socket(api: Api) -> socket.socket:
    """Return a client that asks and then reads nothing."""
    address = httpx.URL(api.url)
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.connect((address.host, address.port))
    key = api.settings.api_read_key.get_secret_value()
    slow.sendall(f"GET /v1/live HTTP/1.1\r\nHost: 127.0.0.1\r\n{KEY_HEADER}: {key}\r\n\r\n".encode())
    assert slow.recv(12) == b"HTTP/1.1 200"
    return slow


def others_lose_nothing(server: Api, clients: int, events: int) -> None:
    start = add(server, ["0"])[0]
    with following(server, "?symbol=APIUSDT", last=start) as probe, slow_socket(server) as slow:
        many = [Client(probe.url, {**probe.headers}) for _ in range(clients)]
        threads = [threading.Thread(target=one.read, daemon=True) for one in many]
        for thread in threads:
            thread.start()
        eventually(lambda: all(one.is_open for one in many), timeout_s=120)
        expected = [f"6.{n}" for n in range(events)]
        for at in range(0, events, 500):
            add(server, expected[at : at + 500])
        eventually(lambda: all(len(one.prices) == events for one in many), timeout_s=240)
        assert all(one.prices == expected for one in many)
        assert not [one for client in many for one in client.events if one[1] == "lost"]
        # The slow client takes up again, and gets every event too.
        slow.settimeout(60)
        received = b""
        while f'"6.{events - 1}"'.encode() not in received:
            received += slow.recv(1 << 16)
    assert received.count(b"event: trade") == events
    assert b"event: lost" not in received


def test_a_slow_client_costs_the_others_nothing(server: Api) -> None:
    others_lose_nothing(server, clients=50, events=10_000)


@pytest.mark.long
def test_a_slow_client_costs_two_hundred_others_nothing(server: Api) -> None:
    others_lose_nothing(server, clients=200, events=10_000)


def test_each_new_latest_trade_is_added_once_however_often_a_batch_comes(server: Api) -> None:
    number, symbol = time.time_ns() // 1000, "LIVEUSDT"
    trades = [Trade(number + n, price=f"7.{n}", time_us=START_US + n * 1000, symbol=symbol) for n in range(4)]
    with redis.Redis.from_url(server.settings.redis_dsn(), decode_responses=True) as client:
        client.delete(f"tickhouse:last:spot:{symbol}:aggTrade")
        begin = client.xrevrange(KEY, count=1)[0][0]  # type: ignore[index]
        for batch in (trades[:2], trades[:2], trades[1:3], trades[:3], trades[3:], trades):
            write_latest(server.settings, batch)
        added = client.xrange(KEY, min=f"({begin}")
    found = [json.loads(fields["data"]) for _, fields in added if fields["symbol"] == symbol]  # type: ignore[union-attr]
    assert [one["event_id"] for one in found] == [trade.event_id for trade in trades[1:]]
    assert found[0]["price"] == "7.10000000"
    assert found[0]["trade_time"] == "2024-08-10T00:00:00.001000Z"


def test_clients_are_told_when_the_server_stops(api: Api) -> None:
    with own_process() as (made, process):
        eventually(lambda: made.get("/v1/live", kinds="x").status_code == 404)
        with following(made) as client, slow_socket(made):
            process.send_signal(signal.SIGTERM)
            # uvicorn ends by the signal itself, after it has closed everything.
            assert process.wait(60) == -signal.SIGTERM
            eventually(lambda: client.is_ended)
            assert client.events[-1][1] == "closing"


def test_alerts_are_added_once(server: Api) -> None:
    if not has_alerts(server):
        pytest.skip("this database has no table of alerts (migration 007)")
    raised = f"api-test-{time.time_ns()}"
    with following(server, "?kinds=alert") as client, own_process() as (second, _):
        eventually(lambda: second.get("/v1/live", kinds="x").status_code == 404)
        document = {"alert_id": raised, "rule": "r", "kind": "price_move", "severity": "warning", "summary": "s"}
        document |= {"market": "spot", "symbol": "APIUSDT", "raised_at": "2024-08-10T00:00:00Z", "values": {"a": "1"}}
        with psycopg.connect(server.settings.database_dsn("owner")) as connection:
            connection.execute(
                "INSERT INTO alerts.alerts (alert_id, rule, kind, severity, market, symbol, raised_at, is_historic, "
                "document) VALUES (%s, 'r', 'price_move', 'warning', 'spot', 'APIUSDT', now(), false, %s)",
                (raised, json.dumps(document)),
            )
        eventually(lambda: [data["alert_id"] for *_, data in client.events])
        eventually(lambda: second.get("/v1/alerts").json()["data"][0]["alert_id"] == raised)
    assert [data["alert_id"] for *_, data in client.events] == [raised]


def has_alerts(api: Api) -> bool:
    with psycopg.connect(api.settings.database_dsn("reader")) as connection:
        row = connection.execute("SELECT to_regclass('alerts.alerts') IS NOT NULL").fetchone()
    return bool(row and row[0])
