"""A lakehouse is saved, removed and restored elsewhere, and then goes on exactly once.

The second home has another folder and other ports than the first, as on another machine.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from common.clients.lakefs import repository
from common.settings import Settings, load_settings
from stack.engine.lifecycle import down, up
from standins.lakefs.branch_heads import branch_heads
from tests.e2e.lakehouse import assert_conserved, await_stream, candle_rows, record_count, tickhouse, until
from tests.homes import own_home
from tickhouse.backup.running_stack import running_services
from tickhouse.demo.playback import exchange_state, set_pace
from tickhouse.demo.publication import commit_lake

# It starts two whole lakehouses, one after the other.
pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(1800)]

TRADES = 12_000
SPEED = 20.0
WAIT_S = 300.0


@pytest.fixture
def market(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the local exchange play ten minutes of event time in half a minute."""
    config: dict[str, Any] = {
        "market": {"seed": 31, "length_s": 600, "events": TRADES, "bursts": [], "silent_minutes": {},
                   "symbols": ["ETHUSDT", "SOLUSDT", "XRPUSDT", "BNBUSDT"]},
        "playback": {"speed": SPEED, "start": "subscription"},
        "faults": [{"kind": "sentinel", "count": 4}, {"kind": "repeat", "percent": 2, "at_fraction": 0}],
    }  # fmt: skip
    path = tmp_path / "market.yaml"
    path.write_text(yaml.safe_dump(config))
    monkeypatch.setenv("TICKHOUSE_EXCHANGE_CONFIG", str(path))


def play_until(settings: Settings, trades: int) -> None:
    """Play the market until that many trades were played, then stop its clock."""
    set_pace(settings, SPEED)
    until(
        f"{trades} trades played",
        lambda: int(exchange_state(settings)["trades_played"]),
        WAIT_S,
        holds=lambda played: played >= trades,
    )
    set_pace(settings, 0)


def reconcile() -> dict[str, Any]:
    report: dict[str, Any] = tickhouse("reconcile", "--wait", str(WAIT_S), timeout_s=WAIT_S + 120)
    assert_conserved(report)
    return report


@pytest.mark.usefixtures("market")
def test_a_restored_lakehouse_holds_all_and_goes_on_exactly_once(tmp_path: Path) -> None:
    folder = tmp_path / "backup"
    with own_home():
        up()
        settings = load_settings()
        await_stream(settings)
        up(services=["exchange", "producer"])
        play_until(settings, TRADES // 2)
        before = reconcile()
        bars = candle_rows(settings)
        commit_lake(settings)
        ran = running_services()
        made = tickhouse("backup", folder, "--stop", timeout_s=900)
        assert running_services() == ran
        assert {"kafka", "postgres", "airflow", "producer"} <= set(ran)
        down(purge=True)

    with own_home("elsewhere") as home:
        restored = tickhouse("restore", folder, "--yes", timeout_s=600)
        assert (restored["home"], restored["files"]) == (str(home), made["files"])
        assert branch_heads(home / "data" / "lakefs", "lake") == made["lake"]
        up()
        settings = load_settings()
        await_stream(settings)
        # Airflow may have committed since what the stopped queries had written before.
        history = [commit.id for commit in repository(settings).branch("ingest").log(max_amount=50)]
        assert made["lake"]["ingest"] in history
        same = reconcile()
        assert same["offered"] == before["offered"] > 0
        assert {name: one["hash"] for name, one in same["stores"].items()} == {
            name: one["hash"] for name, one in before["stores"].items()
        }
        assert candle_rows(settings) == bars

        # The exchange begins its market again, so that the first half comes a second time.
        up(services=["exchange", "producer"])
        play_until(settings, TRADES)
        whole = reconcile()
        assert whole["offered"] == TRADES
        assert record_count(settings) == TRADES - whole["rejected"]
