"""Geode is started beside a running stream, which fills it; every other check stays right."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from common.settings import Settings, load_settings
from stack.engine.lifecycle import up
from tests.e2e.archives import write_archive
from tests.e2e.lakehouse import await_stream, tickhouse, until
from tests.faults.processes import drivers, kill, kill_program
from tests.homes import own_home
from tests.unit.tickhouse.checks.reconcile.samples import trade
from tickhouse.checks.reconcile.model import MINUTE_US, CheckedStream, CheckedTrade

# It starts a whole lakehouse of its own.
pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(1800)]

KEY = CheckedStream("spot", "DOTUSDT", "aggTrade")
START_US = int(datetime(2024, 8, 7, tzinfo=UTC).timestamp()) * 10**6
HOURS = 30


def offered(first: int, count: int) -> list[CheckedTrade]:
    """Return a trade every 20 seconds, with the ids [first, first + count)."""
    return [
        trade(
            number, key=KEY, first_id=number, last_id=number, time_us=START_US + number * MINUTE_US // 3,
            price=(100 + number % 50) * 10**8, qty=25_000_000,
        )
        for number in range(first, first + count)
    ]  # fmt: skip


@pytest.fixture
def settings() -> Iterator[Settings]:
    """Yield a home of its own: the other tests of the pipeline know no further query and store."""
    with own_home():
        up()
        found = load_settings()
        await_stream(found)
        yield found


def test_statistics_are_right_after_a_late_start_and_two_kills(settings: Settings, tmp_path: Path) -> None:
    half = HOURS * 180 // 2
    before = write_archive(tmp_path / "DOTUSDT-aggTrades-2024-08-07.csv", offered(0, half))
    after = write_archive(tmp_path / "DOTUSDT-aggTrades-2024-08-08.csv", offered(half, half))
    tickhouse("replay", before, "--market", "spot")

    up(services=["geode"])
    until("query statistics", lambda: "statistics" in tickhouse("status")["pipeline"]["stream"]["query"], 240.0)
    tickhouse("replay", after, "--market", "spot")
    kill_program("geode")
    for driver in drivers(settings.home):
        kill(driver.pid, with_children=True)

    report = tickhouse("reconcile", "--store", "geode", "--wait", "600", timeout_s=900)
    assert report["ok"], report["stores"]["geode"]
    assert report["stores"]["geode"]["delivered"] >= 24 * 180

    (found,) = tickhouse("statistics", "--market", "spot", "--symbol", "DOTUSDT")
    assert (found["from"], found["until"]) == ("2024-08-07T06:00:00Z", "2024-08-08T06:00:00Z")
    assert (found["minutes"], found["agg_trades"], found["volume"]) == ("1440", str(24 * 180), "1080.00000000")
    systems = tickhouse("explain", f"binance:spot:DOTUSDT:aggTrade:{HOURS * 180 - 1}")["systems"]
    assert systems["geode"]["minute"]["agg_trades"] == "3"
    assert systems["geode"]["window"] == "2024-08-07T06:00:00Z to 2024-08-08T06:00:00Z"
    section = until("statistics in status", lambda: tickhouse("status")["pipeline"]["geode"], 60.0)
    assert section["entries"]["statistics_minutes"] >= 1440
