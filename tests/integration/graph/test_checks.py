"""The graph under reconcile, status, explain and retention, and after kill -9 of its writer."""

from __future__ import annotations

import copy
import os
import signal
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from common.clients.neo4j import connected
from common.event_ids import StreamName
from common.settings import Settings
from tests.eventually import eventually
from tests.faults.processes import answers, kill_program
from tests.integration.graph.conftest import MARKET, GraphBench, Market
from tickhouse.checks.explain.derived_stores import hour_of
from tickhouse.checks.reconcile import lake_bronze, neo4j
from tickhouse.checks.reconcile.store_result import StoreResult
from tickhouse.graph.sync import sync
from tickhouse.retention.derived_stores import GraphHours
from tickhouse.status.sinks import sections

pytestmark = pytest.mark.integration

BTC_AT_NOON = "spot:BTCUSDT:2024-08-08T12"
# Many days, so that a synchronization takes seconds and can be killed in its middle.
FIRST_DAY = date(2024, 1, 1)
LONG_MARKET: Market = {
    str(FIRST_DAY + timedelta(days=day)): {
        hour: {symbol: (str(1000 + day), f"{day}.{hour:02d}") for symbol in ("BTCUSDT", "ETHUSDT", "ETHBTC")}
        for hour in range(0, 24, 2)
    }
    for day in range(60)
}


def compared(settings: Settings) -> StoreResult:
    """Compare the graph with its commit, as reconcile does."""
    result, found = StoreResult("neo4j"), neo4j.read(settings)
    neo4j.compare(found, neo4j.candle_hours(lake_bronze.connect(settings, found.commit_id)), result)
    return result


def faults(result: StoreResult) -> dict[str, int]:
    return {name: count for name, count in result.faults.items() if count}


def test_a_synchronized_graph_equals_its_commit(bench: GraphBench) -> None:
    bench.commit(MARKET)
    sync(bench.settings, bench.branch)

    result = compared(bench.settings)

    assert (faults(result), result.delivered) == ({}, 5)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("MATCH (h:TradedHour {hour_id: $id}) DETACH DELETE h", {"missing": 1}),
        (
            "MATCH (h:TradedHour {hour_id: $id}), (s:Symbol {symbol_id: 'spot:ETHUSDT'}) MERGE (s)-[:TRADED_IN]->(h)",
            {"duplicate": 1, "mismatch": 1},
        ),
        ("MATCH (h:TradedHour {hour_id: $id}) SET h.volume = '1.00000001'", {"mismatch": 1}),
        (
            "MATCH (:Symbol)-[r:TRADED_IN]->(h:TradedHour {hour_id: $id}), (s:Symbol {symbol_id: 'spot:ETHUSDT'}) "
            "DELETE r MERGE (s)-[:TRADED_IN]->(h)",
            {"mismatch": 1},
        ),
        (
            "MATCH (h:TradedHour {hour_id: $id}) SET h.hour_id = 'spot:BTCUSDT:2024-08-08T13'",
            {"missing": 1, "mismatch": 1},
        ),
    ],
    ids=["deleted", "doubled", "altered", "moved", "shifted"],
)
def test_one_wrong_hour_is_found(bench: GraphBench, change: str, expected: dict[str, int]) -> None:
    bench.commit(MARKET)
    sync(bench.settings, bench.branch)
    with connected(bench.settings, "writer") as graph:
        graph.write(change, {"id": BTC_AT_NOON})

    assert faults(compared(bench.settings)) == expected


def test_retention_removes_the_hours_of_old_days_and_keeps_listings(bench: GraphBench) -> None:
    bench.commit(MARKET)
    sync(bench.settings, bench.branch)
    now = datetime.now(UTC)
    with connected(bench.settings, "writer") as graph:
        graph.write("MATCH (day:LoadedDay {date: '2024-08-07'}) SET day.loaded_at_s = day.loaded_at_s - 40 * 86400")
    policy = GraphHours(bench.settings, 30)

    plan = policy.plan(now)
    assert [(step.item, step.rows) for step in plan.steps] == [("2024-08-07", 1)]
    for _ in range(2):  # a step may be repeated
        policy.do(plan.steps[0], now)

    result = compared(bench.settings)
    assert (faults(result), result.delivered, result.expired) == ({}, 4, 1)
    assert policy.plan(now).steps == ()
    assert sync(bench.settings, bench.branch).days == 0  # and it is not loaded again
    with connected(bench.settings, "reader") as graph:
        assert graph.read("MATCH (one:Listing) RETURN count(one) AS count") == [{"count": 5}]
    later = copy.deepcopy(MARKET)
    later["2024-08-07"][13] = {"BTCUSDT": ("55001", "3")}
    bench.commit(later)
    sync(bench.settings, bench.branch)  # the day has changed, so all of it is there again
    assert (faults(compared(bench.settings)), compared(bench.settings).delivered) == ({}, 6)


def test_status_and_explain_show_the_graph(bench: GraphBench) -> None:
    commit_id = bench.commit(MARKET)
    sync(bench.settings, bench.branch)

    section = sections(bench.settings)["neo4j"](bench.settings)
    noon_us = int(datetime(2024, 8, 8, 12, 30, tzinfo=UTC).timestamp()) * 10**6
    stream = StreamName("spot", "BTCUSDT", "aggTrade")

    assert section["nodes"] == {"symbols": 5, "hours": 5, "days": 2}
    assert section["commit"] == commit_id
    assert section["commit_age_s"] >= 0
    assert hour_of(bench.settings, stream, noon_us) == {
        "commit": commit_id,
        "hour": {"hour": "2024-08-08T12", "trades": 2, "volume": "1", "close": "60000"},
    }
    assert hour_of(bench.settings, stream, 0) == {"commit": commit_id, "hour": None}


def loaded_days(settings: Settings) -> int:
    with connected(settings, "reader") as graph:
        return int(graph.read("MATCH (day:LoadedDay) RETURN count(day) AS days")[0]["days"])


def synchronization(bench: GraphBench) -> subprocess.Popen[bytes]:
    """Start a synchronization in a process of its own."""
    command = [Path(sys.executable).with_name("tickhouse"), "graph", "sync", "--ref", bench.branch]
    environment = os.environ | {"EXCHANGE_REST_URL": bench.settings.exchange_rest_url}
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def loads_days(bench: GraphBench, running: subprocess.Popen[bytes]) -> bool:
    """Return whether the synchronization has loaded some days; it must not have ended."""
    if running.poll() is not None:
        pytest.fail(f"It ended with {running.returncode} before it could be killed")
    return loaded_days(bench.settings) >= 5


def plain_content(bench: GraphBench) -> tuple[Any, Any]:
    """Return all nodes and edges without what depends on the moment and on the server's own ids."""
    with connected(bench.settings, "reader") as graph:
        nodes = graph.read("MATCH (n) RETURN labels(n) AS labels, properties(n) AS values")
        edges = graph.read(
            "MATCH (a)-[r]->(b) RETURN labels(a) AS a, properties(a) AS from, type(r) AS type, properties(b) AS to"
        )
    moments = ("loaded_at_s", "seen_at", "listing_id")

    def plain(values: dict[str, Any]) -> list[tuple[str, Any]]:
        return sorted((name, value) for name, value in values.items() if name not in moments)

    return (
        sorted(str((one["labels"], plain(one["values"]))) for one in nodes),
        sorted(str((one["a"], plain(one["from"]), one["type"], plain(one["to"]))) for one in edges),
    )


@pytest.mark.parametrize("victim", ["synchronization", "server"])
def test_kill_9_in_the_middle_ends_with_the_same_graph(bench: GraphBench, victim: str) -> None:
    bench.commit(LONG_MARKET)
    running = synchronization(bench)
    try:
        eventually(lambda: loads_days(bench, running), timeout_s=240, every_s=0.05)
        if victim == "server":
            kill_program("neo4j")  # the driver repeats its transaction once the server is back
        else:
            running.send_signal(signal.SIGKILL)
        running.wait(timeout=240)
    finally:
        running.kill()
        running.wait()
    eventually(lambda: answers("neo4j"), timeout_s=240, every_s=1)
    if victim == "synchronization":
        assert 5 <= loaded_days(bench.settings) < len(LONG_MARKET)

    sync(bench.settings, bench.branch)
    interrupted = plain_content(bench)

    assert (faults(compared(bench.settings)), compared(bench.settings).delivered) == ({}, 60 * 12 * 3)
    with connected(bench.settings, "writer") as graph:
        graph.write("MATCH (n) DETACH DELETE n")
    sync(bench.settings, bench.branch)
    assert interrupted == plain_content(bench)
