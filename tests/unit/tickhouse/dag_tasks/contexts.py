"""Airflow's context of a task, without Airflow: it keeps what the task pushes and says."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import Asset, AssetAlias

from common.settings import Settings
from tickhouse.dag_tasks import run_report
from tickhouse.dag_tasks.run_report import RunReport


class FakeTask:
    """A task instance that keeps its XComs."""

    def __init__(self, task_id: str = "task") -> None:
        self.task_id = task_id
        self.xcoms: dict[tuple[str, str], Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[self.task_id, key] = value

    def xcom_pull(self, task_ids: str, key: str) -> Any:
        return self.xcoms.get((task_ids, key))


class FakeOutlet:
    """The accessor of one outlet."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def add(self, asset: Asset, extra: dict[str, Any]) -> None:
        self.events.append((asset.name, extra))


class FakeOutlets(dict[AssetAlias, FakeOutlet]):
    """The accessors of all outlets."""

    def __missing__(self, key: AssetAlias) -> FakeOutlet:
        return self.setdefault(key, FakeOutlet())


class ToldRun:
    """What the task of a test told: notes, links and events."""

    def __init__(self) -> None:
        self.task = FakeTask()
        self.outlets = FakeOutlets()
        self.notes: list[str] = []
        run = SimpleNamespace(dag_id="dag", run_id="run")
        self.context: Any = {"ti": self.task, "dag_run": run, "outlet_events": self.outlets}

    @property
    def events(self) -> list[tuple[str, dict[str, Any]]]:
        return [event for outlet in self.outlets.values() for event in outlet.events]

    @property
    def links(self) -> dict[str, str]:
        return dict(self.task.xcom_pull("task", "links") or {})


def told_run(monkeypatch: pytest.MonkeyPatch) -> ToldRun:
    """Let the tasks of a test tell to the returned object."""
    told = ToldRun()
    monkeypatch.setattr(RunReport, "current", classmethod(lambda cls, _: cls(Settings(), told.context)))
    monkeypatch.setattr(run_report, "set_note", lambda _, __, text: told.notes.append(text))
    return told
