"""Parts of the lakehouse are stopped and killed while a market is played live; nothing may be lost.

No person repairs anything. The tests run in this order on one market. What each part guarantees
when it is killed is in docs/explanation/architecture.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from common.settings import Settings
from stack.engine import supervisor
from stack.engine.lifecycle import up
from tests.conftest import Stack
from tests.e2e.lakehouse import assert_conserved, await_stream, latest_hashes, tickhouse, until
from tests.faults.processes import (
    LeaseWatch,
    answers,
    drivers,
    kill,
    kill_program,
    lease_record,
    lock_holders,
    queries,
)
from tickhouse.demo.playback import exchange_state, set_pace
from tickhouse.demo.publication import commit_lake
from tickhouse.demo.run import stream_is_active

pytestmark = pytest.mark.faults

CONFIG = Path(__file__).with_name("market.yaml")
SYMBOLS: list[str] = yaml.safe_load(CONFIG.read_text())["market"]["symbols"]
SPEED: float = yaml.safe_load(CONFIG.read_text())["playback"]["speed"]
TRADES_PER_SECOND = 250
# A supervised program is restarted at once. Airflow's processes take longest until they are ready.
BACK_S = 90.0
# For the driver: a retry delay, the start of a JVM, of a session and of the queries. When Airflow's
# database was down at the moment the driver ended, Airflow notices the end by the missing heartbeat
# of the task.
DRIVER_BACK_S = 150.0


@dataclass(frozen=True)
class Market:
    """The market that is played, and the lakehouse that ingests it."""

    settings: Settings
    watch: LeaseWatch

    @property
    def stream(self) -> Path:
        """The folder of checkpoints and lease."""
        return self.settings.home / "stream"

    def played(self) -> int:
        """Return how many trades the exchange has played; the market must still run."""
        state = exchange_state(self.settings)
        assert state["state"] == "playing", "the market ended before its parts were killed"
        return int(state["trades_played"])

    def play_for(self, seconds: float) -> None:
        """Wait while the market is played for so many seconds."""
        end = self.played() + int(seconds * TRADES_PER_SECOND)
        until(f"{end} trades played", self.played, 30 + 2 * seconds, holds=lambda played: played >= end)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stop the market's clock, so that a slow restart does not use up the market."""
        set_pace(self.settings, 0)
        try:
            yield
        finally:
            set_pace(self.settings, SPEED)

    def applied(self) -> int:
        """Return how many of the market's ids the candles hold."""
        query = """
            SELECT coalesce(sum(upper(run) - lower(run)), 0)
            FROM market.trade_ranges, unnest(seen) AS run WHERE symbol = ANY (%s)
        """
        with psycopg.connect(self.settings.database_dsn("reader"), connect_timeout=5) as connection:
            return int(connection.execute(query, [SYMBOLS]).fetchall()[0][0])

    def close_ids(self) -> dict[str, int]:
        """Return the last trade of each symbol that the candles hold."""
        query = "SELECT symbol, max(close_trade_id) FROM market.candles_1m WHERE symbol = ANY (%s) GROUP BY 1"
        with psycopg.connect(self.settings.database_dsn("reader"), connect_timeout=5) as connection:
            return dict(connection.execute(query, [SYMBOLS]).fetchall())

    def latest_ids(self) -> dict[str, int]:
        """Return the last trade of each symbol that Redis holds."""
        hashes = latest_hashes(self.settings)
        names = {symbol: f"tickhouse:last:spot:{symbol}:aggTrade" for symbol in SYMBOLS}
        return {symbol: int(hashes[name]["trade_id"]) for symbol, name in names.items() if name in hashes}


@pytest.fixture(scope="module")
def market(stack: Stack) -> Iterator[Market]:
    settings = stack.up()
    await_stream(settings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TICKHOUSE_EXCHANGE_CONFIG", str(CONFIG))
        up(services=["exchange", "producer"])
        with LeaseWatch(settings.home / "stream").running() as watch:
            yield Market(settings, watch)
    supervisor.stop(["producer", "exchange"])


def test_stopped_store_stalls_its_own_query_alone(market: Market) -> None:
    until("a latest price of every symbol", market.latest_ids, 60.0, holds=lambda ids: len(ids) == len(SYMBOLS))

    supervisor.stop(["redis"])
    # These trades are played after Redis was stopped, so they can only reach the candles while it
    # is down.
    before, wanted = queries(market.stream), market.played() + 15 * TRADES_PER_SECOND
    until(f"{wanted} trades in the candles", market.applied, 90.0, holds=lambda applied: applied >= wanted)
    now = queries(market.stream)
    supervisor.start("redis")
    until("Redis to answer", lambda: answers("redis"), 30.0)

    assert {name: query["failures"] for name, query in now.items()} == dict.fromkeys(now, 0)
    assert all(query["is_active"] for query in now.values())
    assert now["last"]["batch_id"] <= before["last"]["batch_id"] + 1  # its batch may have ended just before
    closes = market.close_ids()
    until(f"Redis at {closes}", market.latest_ids, 60.0, holds=lambda latest: latest_reach(latest, closes))


def latest_reach(latest: dict[str, int], closes: dict[str, int]) -> bool:
    return all(latest.get(symbol, -1) >= close for symbol, close in closes.items())


def test_killed_parts_come_back_by_themselves(market: Market) -> None:
    for program, service in (
        ("airflow-scheduler", None),
        ("producer", "producer"),
        ("kafka", "kafka"),
        ("lakefs", "lakefs"),
    ):
        kill_and_await(market, program, service)
    driver = lease_record(market.stream)
    assert driver is not None
    kill(driver.pid)
    market.play_for(2)  # Airflow is about to start the next driver when its database is killed
    kill_and_await(market, "postgres", "postgres", with_children=True)

    with market.paused():
        until("Airflow to be ready", lambda: answers("airflow"), BACK_S)
        until(
            f"another driver than {driver}, with all queries active",
            lambda: (lease_record(market.stream), stream_is_active(market.settings.home)),
            DRIVER_BACK_S,
            holds=lambda seen: seen[0] != driver and seen[1],
        )


def kill_and_await(market: Market, program: str, service: str | None, *, with_children: bool = False) -> None:
    """Kill a program, play the market for some seconds, and wait for the program's restart."""
    killed = kill_program(program, with_children=with_children)
    market.play_for(3)

    def look() -> Any:
        state = supervisor.state(program)
        return state, state.pid not in (0, killed) and (service is None or answers(service))

    with market.paused():
        until(f"{program} to run again", look, BACK_S, holds=lambda seen: seen[0].state == "RUNNING" and seen[1])


def test_nothing_was_lost_or_stored_twice(market: Market) -> None:
    until("the market's end", lambda: exchange_state(market.settings), 180.0, holds=lambda now: now["state"] == "done")
    report = tickhouse("reconcile", "--wait", "240", timeout_s=300)

    assert_conserved(report)
    # Files that an earlier test replayed into this lakehouse may have holes between them.
    assert [gap for gap in tickhouse("gaps", "--state", "open") if gap["source"] != "ARCHIVE"] == []
    assert report["gaps_filled"] > 0  # ids were missed during the kills, and fetched by REST


def test_one_driver_wrote_at_any_moment(market: Market) -> None:
    until("one driver", lambda: drivers(market.settings.home), 90.0, holds=lambda found: len(found) == 1)
    (driver,) = drivers(market.settings.home)

    assert market.watch.violations == []
    assert len(market.watch.history) >= 2  # the killed driver, and the one after it
    assert market.watch.history[-1].pid == driver.pid
    assert lock_holders(market.stream) == {driver.pid}


def test_airflow_still_schedules(market: Market) -> None:
    assert commit_lake(market.settings)["id"]
    health = {one["name"]: one["health"] for one in tickhouse("status")["services"] if one["health"] != "stopped"}
    assert health == dict.fromkeys(health, "ready")
