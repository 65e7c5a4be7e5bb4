"""A market is played live while its parts are stopped and killed; nobody mends anything; nothing may be lost.

The tests run in this order on one market. What each part promises when it dies: docs/explanation/architecture.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from stack.engine import supervise, up
from tests.conftest import Stack
from tests.e2e.lakehouse import assert_conserved, await_stream, latest_hashes, tickhouse, until
from tests.faults.victims import (
    LeaseWatch,
    answers,
    drivers,
    kill,
    kill_program,
    lease_record,
    lock_holders,
    queries,
)
from tickhouse.demo.run import commit_lake, exchange_state, stream_is_active
from tickhouse.settings import Settings

pytestmark = pytest.mark.faults

CONFIG = Path(__file__).with_name("market.yaml")
SYMBOLS: list[str] = yaml.safe_load(CONFIG.read_text())["market"]["symbols"]
TRADES_A_SECOND = 250
# A supervised program is started again at once; Airflow's processes take longest to be well.
BACK_S = 90.0
# The driver: a retry delay, a JVM, a session, the queries. Or, when the database died while Airflow wanted
# to note the driver's end, the time after which it misses the task's heartbeat.
DRIVER_BACK_S = 150.0


@dataclass(frozen=True)
class Market:
    """The market that is played, and the lakehouse that takes it."""

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

    def pass_by(self, seconds: float) -> None:
        """Let the market play on for so many seconds."""
        end = self.played() + int(seconds * TRADES_A_SECOND)
        until(f"{end} trades played", self.played, 30 + 2 * seconds, holds=lambda played: played >= end)

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
    supervise.stop(["producer", "exchange"])


def test_stopped_store_stalls_its_own_query_alone(market: Market) -> None:
    until("a latest price of every symbol", market.latest_ids, 60.0, holds=lambda ids: len(ids) == len(SYMBOLS))

    supervise.stop(["redis"])
    # Trades that the exchange has not played yet: they reach the candles while Redis is down, or never.
    before, wanted = queries(market.stream), market.played() + 15 * TRADES_A_SECOND
    until(f"{wanted} trades in the candles", market.applied, 90.0, holds=lambda applied: applied >= wanted)
    now = queries(market.stream)
    supervise.start("redis")
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
    market.pass_by(2)  # Airflow is about to start the next driver when its own database dies
    kill_and_await(market, "postgres", "postgres", with_children=True)

    until("Airflow to be well", lambda: answers("airflow"), BACK_S)
    until(
        f"another driver than {driver}, with all queries active",
        lambda: (lease_record(market.stream), stream_is_active(market.settings.home)),
        DRIVER_BACK_S,
        holds=lambda seen: seen[0] != driver and seen[1],
    )


def kill_and_await(market: Market, program: str, service: str | None, *, with_children: bool = False) -> None:
    """Kill a program, let the market play on for some seconds, and wait until its supervisor has it back."""
    killed = kill_program(program, with_children=with_children)
    market.pass_by(3)

    def look() -> Any:
        state = supervise.state(program)
        return state, state.pid not in (0, killed) and (service is None or answers(service))

    until(f"{program} to come back", look, BACK_S, holds=lambda seen: seen[0].state == "RUNNING" and seen[1])


def test_nothing_was_lost_or_taken_twice(market: Market) -> None:
    until("the market's end", lambda: exchange_state(market.settings), 180.0, holds=lambda now: now["state"] == "done")
    report = tickhouse("reconcile", "--wait", "240", timeout_s=300)

    assert_conserved(report)
    assert report["gaps_open"] == 0
    assert report["gaps_filled"] > 0  # the kills and cuts cost ids, which REST brought back


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
