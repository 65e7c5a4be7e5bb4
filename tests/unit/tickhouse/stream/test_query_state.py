"""What `stream status`, `status` and `doctor` say of the queries, from the driver's files alone."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from spark.checkpoints import lost_offsets
from spark.checkpoints.lost_offsets import LostOffsets
from tickhouse.status.doctor import _queries
from tickhouse.stream.query_state import query_states

LOST = LostOffsets("lake_trades", "crypto.trades", "id", 0, 60, 100, "offsets_expired", 1)


def report(home: Path, age_s: float = 0.0, **queries: dict[str, Any]) -> None:
    folder = home / "stream"
    folder.mkdir(exist_ok=True)
    at_us = int((time.time() - age_s) * 1e6)
    (folder / "progress.json").write_text(json.dumps({"pid": 1, "at_us": at_us, "queries": queries}))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TICKHOUSE_HOME", str(tmp_path))
    return tmp_path


def test_without_a_driver_every_query_is_stopped(home: Path) -> None:
    assert {one.state for one in query_states(home / "stream")} == {"stopped"}
    report(home, age_s=60, candles={"is_active": True})
    assert {one.state for one in query_states(home / "stream")} == {"stopped"}
    assert list(_queries()) == []


def test_each_query_reports_its_state(home: Path) -> None:
    begun = {"reason": "checkpoint_damaged", "detail": "offsets/5 is empty", "start": {"0": 50}}
    report(
        home,
        candles={"is_active": True, "failures": 0, "error": "", "started": begun},
        last={"is_active": False, "failures": 3, "error": "Kafka does not answer", "started": None},
        lake_trades={"is_active": True, "failures": 0, "error": "", "started": {**begun, "reason": "offsets_expired"}},
    )
    lost_offsets.record(home / "stream", [LOST])

    states = {one.name: one for one in query_states(home / "stream")}
    findings = {one.check: (one.level, one.mend) for one in _queries()}

    assert states["candles"].in_words == "active; checkpoint recreated: checkpoint_damaged"
    assert states["candles"].detail == "offsets/5 is empty"
    assert states["last"].in_words == "failing; failed 3 times: Kafka does not answer"
    assert states["lake_trades"].lost == ("lake_trades lost crypto.trades-0 from 60 to 100 (offsets_expired)",)
    assert [name for name, one in states.items() if not one.is_well] == [
        "last",
        "enriched",
        "lake_trades",
        "lake_ticks",
    ]
    assert findings["query lake_trades"] == ("error", "tickhouse stream repair")
    assert findings["query last"] == ("warning", "tickhouse stream status")
    assert findings["query candles"] == ("ok", "")


@pytest.mark.parametrize("text", ["", "{", '{"queries": {}}', "[]", '{"at_us": "now"}'])
def test_an_incomplete_report_hides_nothing_else(home: Path, text: str) -> None:
    report(home)
    (home / "stream" / "progress.json").write_text(text)
    lost_offsets.record(home / "stream", [LOST])

    assert [one.name for one in query_states(home / "stream") if one.lost] == ["lake_trades"]


def test_a_query_of_an_optional_store_is_shown_once_it_was_there(home: Path) -> None:
    assert "statistics" not in [one.name for one in query_states(home / "stream")]
    report(home, statistics={"is_active": True})
    assert [one.state for one in query_states(home / "stream") if one.name == "statistics"] == ["active"]
    report(home)
    (home / "stream" / "checkpoints" / "statistics").mkdir(parents=True)
    assert [one.state for one in query_states(home / "stream") if one.name == "statistics"] == ["failing"]
