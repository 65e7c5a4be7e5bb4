"""DAG `backfill`: which trades it fetches, and how a stopped or damaged replay ends."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from common.errors import RejectedRecord, TransientError
from common.settings import Settings
from tickhouse.dag_tasks import backfill
from tickhouse.ingest.backfill import TradeRange

PARAMS = {"market": "spot", "symbol": "BTCUSDT", "from": "2024-08-08", "to": "2024-08-09", "file": None}


def microseconds(*moment: int) -> int:
    return int(datetime(*moment, tzinfo=UTC).timestamp()) * 1_000_000  # type: ignore[arg-type, misc]


def test_both_days_are_fetched_whole() -> None:
    wanted = TradeRange("spot", "BTCUSDT", from_us=microseconds(2024, 8, 8), to_us=microseconds(2024, 8, 10))

    assert backfill.trade_range(PARAMS) == wanted


class ReplayOfOneFile:
    """What `tickhouse.ingest.replay.replay` returns for a file that was not read to its end."""

    def __init__(self, rejects: dict[str, int]) -> None:
        self.files = [SimpleNamespace(is_whole=False, rejects=rejects)]

    def expected(self) -> list[Any]:
        return []

    def document(self, visible_after_s: dict[str, float] | None) -> dict[str, Any]:
        return {"visible_after_s": visible_after_s}

    def require_events(self) -> None:
        raise RejectedRecord("truncated", "x.zip was not read to its end")


@pytest.fixture
def replayed(monkeypatch: pytest.MonkeyPatch) -> Any:
    def give(rejects: dict[str, int]) -> None:
        monkeypatch.setattr(backfill, "load_settings", Settings)
        monkeypatch.setattr(backfill.files, "replay", lambda *_, **__: ReplayOfOneFile(rejects))
        monkeypatch.setattr(backfill, "wait_for_stores", lambda *_, **__: {"lake": 1.0})

    return give


def test_a_replay_that_airflow_stopped_may_be_retried(replayed: Any) -> None:
    replayed({"invalid_json": 3})

    with pytest.raises(TransientError, match="stopped before its end"):
        backfill.fetch({**PARAMS, "file": "x.zip"})


def test_a_file_that_ends_too_early_is_not_retried(replayed: Any) -> None:
    replayed({"truncated": 1})

    with pytest.raises(RejectedRecord, match="not read to its end"):
        backfill.fetch({**PARAMS, "file": "x.zip"})


def test_progress_is_logged_at_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[object] = []
    monkeypatch.setattr(backfill.log, "info", lambda _, **values: logged.append(values))
    progress = backfill.ProgressLog()

    for done in range(1_000):
        progress.log(done=done)

    assert logged == [{"done": 0}]
