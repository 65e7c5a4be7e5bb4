"""A run that misses its deadline is reported once, unless it has ended."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from common.settings import Settings
from tickhouse.dag_tasks import deadlines
from tickhouse.dag_tasks.deadlines import deadline, report_late


@pytest.mark.parametrize(("state", "reported"), [("running", True), ("queued", True), ("failed", False)])
def test_only_a_run_that_goes_on_is_late(monkeypatch: pytest.MonkeyPatch, state: str, reported: bool) -> None:
    sent: list[Any] = []
    monkeypatch.setattr(deadlines, "announce_late", lambda _, *what: sent.append(what))
    monkeypatch.setattr(deadlines, "load_settings", Settings)
    run = {"dag_id": "nightly_batch", "dag_run_id": "r1", "state": state}

    asyncio.run(report_late(180, {"dag_run": run}))

    assert sent == ([("nightly_batch", "r1", 180)] if reported else [])


def test_airflow_finds_the_callback_again_by_its_path() -> None:
    made = deadline(timedelta(hours=3))

    assert made.callback.path == "tickhouse.dag_tasks.deadlines.report_late"
    assert made.callback.kwargs == {"minutes": 180}
