"""The demo beside a user's lakehouse; its synthetic ETHUSDT was reported to hide the real one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from common.market_kind import ALLOW_MIXED, BANNER
from common.settings import ports
from standins.exchange.oracle import MarketOracle
from tests.homes import own_home

pytestmark = [pytest.mark.e2e, pytest.mark.long]

TICKHOUSE = str(Path(sys.prefix) / "bin" / "tickhouse")
DAY = ("--from", "2024-08-08", "--to", "2024-08-10")
# What docs/how-to/run-on-a-small-machine.md says, and a tenth more.
LIGHT_MB = 3_775


def tickhouse(*arguments: str, exit_code: int = 0) -> str:
    done = subprocess.run([TICKHOUSE, *arguments], capture_output=True, text=True, timeout=1_500, check=False)
    assert done.returncode == exit_code, f"{arguments} ended with {done.returncode}:\n{done.stderr[-4000:]}"
    return done.stdout if exit_code == 0 else done.stderr


def document(*arguments: str) -> Any:
    return json.loads(tickhouse(*arguments, "--json"))


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """Yield the user's home; the demo makes its own beside it."""
    with own_home("home") as folder, pytest.MonkeyPatch.context() as patch:
        patch.delenv(ALLOW_MIXED)
        try:
            yield folder
        finally:
            tickhouse("--demo", "down", "--purge")


@pytest.fixture(scope="module")
def demo(home: Path) -> Any:
    return document("demo", "--light", "--events", "20000")


def test_a_fresh_home_after_the_demo_shows_nothing_of_it(home: Path, demo: Any) -> None:
    assert demo["home"] == f"{home}-demo"
    assert not home.exists()
    assert set(demo["ports"].values()).isdisjoint(ports().values())
    status = document("status")
    assert status["home"] == str(home)
    assert not status["is_simulated"]
    assert {service["health"] for service in status["services"]} == {"stopped"}
    assert not home.exists()


def test_the_demo_is_whole_and_fits_a_small_machine(demo: Any) -> None:
    assert demo["reconcile"]["ok"]
    assert demo["reconcile"]["offered"] >= 20_000
    assert 0 < demo["memory_mb"] < LIGHT_MB


def test_every_view_of_the_market_says_simulated(home: Path, demo: Any) -> None:
    folder = Path(demo["home"])
    status = document("--demo", "status")
    assert status["home"] == str(folder)
    assert status["is_simulated"]
    assert BANNER in tickhouse("--demo", "status")

    candles = document("candles", "--market", "spot", "--symbol", "BTCUSDT", *DAY, "--demo")
    assert {candle["is_simulated"] for candle in candles} == {True}
    assert "SIMULATED spot BTCUSDT" in tickhouse("--demo", "candles", "--market", "spot", "--symbol", "BTCUSDT", *DAY)

    truth = MarketOracle.from_document(json.loads((folder / "truth" / "exchange.json").read_text()))
    explained = document("--demo", "explain", next(iter(truth.trades())).event_id)
    assert explained["found"]
    assert explained["is_simulated"]
    assert "SIMULATED" in (folder / "data_docs" / "index.html").read_text()
    assert demo["main"]["metadata"]["audit.market"] == "simulated"


def test_real_trades_are_refused_by_the_demos_home(demo: Any, tmp_path: Path) -> None:
    file = tmp_path / "BTCUSDT-aggTrades-2024-08-08.csv"
    file.write_text("1,100.5,2,1,1,1723161255343,True,True\n")
    assert "synthetic market" in tickhouse("--demo", "replay", str(file), "--market", "spot", exit_code=2)
