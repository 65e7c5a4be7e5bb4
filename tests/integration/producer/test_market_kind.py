"""A lakehouse takes real or synthetic trades, and refuses the other kind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from common import market_kind
from common.market_kind import claim, kind_of
from common.settings import REPO, home
from common.topics import PRODUCER_DEAD_LETTERS
from tests.eventually import eventually

pytestmark = pytest.mark.integration

MARKET = {
    "market": {"seed": 5, "length_s": 60, "events": 600, "symbols": ["BTCUSDT"], "bursts": []},
    "playback": {"speed": 20, "start_after_s": 0.2},
}
LINE = "1,100.5,2,1,1,1723161255343,True,True\n"


@pytest.fixture
def strict(log, monkeypatch):
    """A home that refuses to mix, as every home does outside the tests."""
    monkeypatch.delenv(market_kind.ALLOW_MIXED)
    record = home() / market_kind.FILE
    accounts = home() / "truth" / "files.jsonl"  # of another test's replay
    record.unlink(missing_ok=True)
    accounts.unlink(missing_ok=True)
    yield home()
    record.unlink(missing_ok=True)


def replay(path: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.prefix) / "bin" / "tickhouse"), "replay", str(path), "--market", "spot", "--no-wait"]
    return subprocess.run([*command, "--symbol", "BTCUSDT"], capture_output=True, text=True, check=False, cwd=REPO)


def test_a_synthetic_market_is_refused_by_a_home_of_real_trades(strict, log, exchange, producers):
    claim(strict, "real")
    process = producers.start(exchange(MARKET))
    assert process.wait(timeout=60) == 2
    assert "holds real trades" in producers.said()
    assert log.trades() == []


def test_real_trades_are_refused_by_a_home_of_a_synthetic_market(strict, log, exchange, producers, tmp_path):
    process = producers.start(exchange(MARKET))
    eventually(log.trades, timeout_s=60, every_s=0.5)
    assert producers.stop(process) == 0
    assert kind_of(strict) == "simulated"
    before = log.trade_ids()

    file = tmp_path / "BTCUSDT-aggTrades-2024-08-08.csv"
    file.write_text(LINE)
    refused = replay(file)
    assert refused.returncode == 2
    assert "holds a synthetic market" in refused.stderr
    assert log.trade_ids() == before

    # A home without `market.json` reads the kind from its Kafka.
    (strict / market_kind.FILE).unlink()
    assert replay(file).returncode == 2
    assert log.trade_ids() == before
    assert [key for key, _ in log.letters()] == [], PRODUCER_DEAD_LETTERS
