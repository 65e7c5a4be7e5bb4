"""DAG `backfill`: which trades it fetches, and how a stopped or damaged replay ends."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from common.errors import ConfigurationError, RejectedRecord, TransientError
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


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A home with one archive, and two files that no run may read."""
    home = tmp_path / "home"
    (home / "archives").mkdir(parents=True)
    (home / "archives" / "x.zip").touch()
    (home / "secrets.env").touch()
    (home / "archives" / "link.zip").symlink_to(home / "secrets.env")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "y.zip").touch()
    monkeypatch.setenv("TICKHOUSE_HOME", str(home))
    return Settings(archive_folders=f"{tmp_path / 'data'}:")


@pytest.mark.parametrize("file", ["home/archives/x.zip", "data/y.zip"])
def test_a_file_below_the_archives_is_read(settings: Settings, tmp_path: Path, file: str) -> None:
    assert backfill.allowed_file(settings, str(tmp_path / file)) == (tmp_path / file).resolve()


@pytest.mark.parametrize(
    "file", ["home/secrets.env", "home/archives/../secrets.env", "home/archives/link.zip", "home", "home/archives2/x"]
)
def test_no_other_file_is_read(settings: Settings, tmp_path: Path, file: str) -> None:
    with pytest.raises(ConfigurationError, match="reads files below"):
        backfill.allowed_file(settings, str(tmp_path / file))


def test_a_missing_file_is_named(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="There is no file"):
        backfill.allowed_file(settings, str(tmp_path / "home" / "archives" / "z.zip"))


def test_what_was_brought_in_one_sentence() -> None:
    files = {"files": [{"sent": 1_200, "sent_earlier": 0}, {"sent": 0, "sent_earlier": 7}]}
    text = "Brought 1,200 records of spot BTCUSDT, 2024-08-08..2024-08-09 into Kafka, which had 7 already."

    assert backfill.fetched_text(PARAMS, files) == text
    assert backfill.fetched_text(PARAMS, {"sent": 1_200, "known": 7}) == text
