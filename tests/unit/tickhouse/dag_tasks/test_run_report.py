"""What tasks tell: links at the task, and events that say which commit and days."""

from __future__ import annotations

from dataclasses import asdict
from datetime import date
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from common.days import Days
from common.errors import StoreUnavailable
from common.settings import Settings
from tests.unit.tickhouse.dag_tasks.contexts import FakeTask, ToldRun
from tickhouse.dag_tasks import lake_commit, lake_rollback, nightly_batch, notes
from tickhouse.dag_tasks.links import AuditReportLink
from tickhouse.dag_tasks.nightly.publication import Published
from tickhouse.lake.ingest_commit import LakeCommit
from tickhouse.lake.rollback import RollbackPreview, UndonePublication

BEFORE, AFTER = "b" * 64, "a" * 64
PREPARED = {"branch": "etl-2024-08-09", "first": "2024-08-09", "last": "2024-08-09", "main_before": BEFORE}
AUDITED = {
    "commit_id": "c" * 64,
    "what": "lake",
    "days": "2024-08-09",
    "ok": True,
    "url": "http://docs/r",
    "warnings": [],
}


def test_a_link_keeps_its_address_for_the_end_of_the_task(told: ToldRun) -> None:
    from tickhouse.dag_tasks.run_report import RunReport

    report = RunReport.current(Settings())
    report.link("Audit report", "http://docs/r")
    report.link("Lake commit", "http://api/c")

    operator: Any = SimpleNamespace(task_id="task")
    assert AuditReportLink().get_link(operator, ti_key=told.task) == "http://docs/r"
    assert AuditReportLink().get_link(operator, ti_key=FakeTask()) == "", "Airflow hides an empty link"


@pytest.mark.parametrize(("head", "events"), [(AFTER, 1), (BEFORE, 0)])
def test_a_publication_makes_an_event_only_when_main_moved(
    told: ToldRun, monkeypatch: pytest.MonkeyPatch, head: str, events: int
) -> None:
    monkeypatch.setattr(nightly_batch.publication, "publish", lambda *_: Published(AFTER, ["daily-2024-08-09"]))
    monkeypatch.setattr(nightly_batch, "head", lambda *_: head)

    published = nightly_batch.publish(PREPARED)

    assert published["is_moved"] == bool(events)
    extra = {"commit": AFTER, "from": "2024-08-09", "to": "2024-08-09"}
    assert told.events == [("lake_main", extra)] * events
    assert told.links["Lake commit"].endswith(f"/commits/{AFTER}")


@pytest.mark.parametrize(("rows", "events"), [({"candles_1d": 3, "monthly": 1}, 1), ({"candles_1d": 0}, 0)])
def test_the_note_of_a_publication_has_commit_rows_and_audit(
    told: ToldRun, monkeypatch: pytest.MonkeyPatch, rows: dict[str, int], events: int
) -> None:
    monkeypatch.setattr(nightly_batch.daily_tables, "load", lambda *_: rows)
    published = {"commit_id": AFTER, "tags": ["daily-2024-08-09"], "is_moved": True}

    nightly_batch.load(published, AUDITED)

    assert told.notes == [
        f"Published 2024-08-09 at commit {AFTER[:12]} (daily-2024-08-09); "
        f"{sum(rows.values())} rows of the daily tables changed.\nAudit passed: http://docs/r"
    ]
    assert len(told.events) == events


def run_of(day: date | None) -> Any:
    from datetime import UTC, datetime

    now = datetime(2026, 11, 29, 14, tzinfo=UTC)
    logical = datetime(day.year, day.month, day.day, tzinfo=UTC) if day else None
    return SimpleNamespace(run_type="manual", logical_date=logical, run_after=now)


def test_a_chosen_day_without_trades_fails_and_a_night_is_skipped(
    told: ToldRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nightly_batch, "head", lambda *_: BEFORE)
    monkeypatch.setattr(nightly_batch.publication, "prepare", lambda *_: None)

    with pytest.raises(nightly_batch.UnknownName, match="no trade of 2024-08-09, so nothing was built"):
        nightly_batch.prepare({}, run_of(date(2024, 8, 9)))
    with pytest.raises(AirflowSkipException, match="no trade of 2026-11-28"):
        nightly_batch.prepare({}, run_of(None))

    assert told.notes == ["The lake has no trade of 2026-11-28, so nothing was built."]


def test_a_commit_tells_its_rows_and_nothing_new_makes_no_event(told: ToldRun, monkeypatch: pytest.MonkeyPatch) -> None:
    made = [None, LakeCommit(AFTER, {"crypto.trades": 1_200}, {}, ["m1", "m2"])]
    monkeypatch.setattr(lake_commit, "commit_ingest", lambda _: made.pop(0))

    with pytest.raises(AirflowSkipException):
        lake_commit.commit()
    assert told.events == []
    lake_commit.commit()

    assert told.events == [("lake_ingest", {"commit": AFTER, "rows": {"crypto.trades": 1_200}})]
    assert (
        told.notes[1] == f"Committed branch ingest as {AFTER[:12]}: rows 1,200 of crypto.trades, named by 2 manifests."
    )


FOUND = RollbackPreview(
    BEFORE, AFTER, (UndonePublication("d" * 64, "2024-08-10T00:41:00+00:00", "Publish etl-2024-08-09"),),
    (date(2024, 8, 9),), 1_200, 0,
)  # fmt: skip


def test_a_rollback_is_previewed_in_one_sentence(told: ToldRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lake_rollback, "look_ahead", lambda *_: FOUND)

    document = lake_rollback.preview({"to": "daily-2024-08-08"})

    assert told.notes == [
        f"Preview: a rollback of main from {BEFORE[:12]} to daily-2024-08-08 ({AFTER[:12]}) undoes 1 publications "
        "and changes the trades of 2024-08-09: 1,200 rows go and 0 come back."
    ]
    assert document["days"] == ["2024-08-09"]
    nothing = RollbackPreview(BEFORE, AFTER, (), (), 0, 0)
    assert "nothing would change" in lake_rollback.preview_text("x", nothing)


def test_a_preview_alone_moves_nothing(told: ToldRun) -> None:
    with pytest.raises(AirflowSkipException, match="main was not moved"):
        lake_rollback.move({"to": "x", "reason": "a wrong file", "preview_only": True}, asdict(FOUND))


def test_a_note_that_airflow_does_not_take_fails_no_task(monkeypatch: pytest.MonkeyPatch) -> None:
    def down(_: Settings) -> None:
        raise StoreUnavailable("Airflow did not answer.")

    monkeypatch.setattr(notes, "AirflowApi", down)

    notes.set_note(Settings(), SimpleNamespace(dag_id="d", run_id="r"), "text")


def test_days_are_part_of_an_event(told: ToldRun) -> None:
    from tickhouse.dag_tasks.assets import MAIN
    from tickhouse.dag_tasks.run_report import RunReport

    RunReport.current(Settings()).changed(MAIN, AFTER, Days(date(2024, 8, 8), date(2024, 8, 9)), rows=5)

    assert told.events == [("lake_main", {"commit": AFTER, "rows": 5, "from": "2024-08-08", "to": "2024-08-09"})]
