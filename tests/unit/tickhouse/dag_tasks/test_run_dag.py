"""A DAG runs another DAG once, for a limited time, and never while the other DAG is paused."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred

from common.clients.airflow import AirflowApi
from common.errors import StoreUnavailable
from common.settings import Settings
from tests.unit.tickhouse.dag_tasks.contexts import FakeTask
from tickhouse.dag_tasks import run_dag
from tickhouse.dag_tasks.links import STARTED_RUN
from tickhouse.dag_tasks.run_dag import RunDagOperator, RunEnds, start_once


class FakeAirflow(AirflowApi):
    """Airflow's API without a server."""

    def __init__(self, states: dict[str, str] | None = None, *, is_paused: bool = False, is_down: bool = False) -> None:
        self.states, self.is_paused, self.is_down = dict(states or {}), is_paused, is_down
        self.started: list[tuple[str, str, dict[str, Any]]] = []

    def __enter__(self) -> FakeAirflow:
        if self.is_down:
            raise StoreUnavailable("Airflow did not answer.")
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def run_state(self, dag_id: str, run_id: str) -> str | None:
        return self.states.get(run_id)

    def paused(self) -> dict[str, bool]:
        return {"lake_commit": self.is_paused}

    def trigger(self, dag_id: str, conf: dict[str, Any] | None = None, run_id: str | None = None) -> str:
        self.started.append((dag_id, run_id or "", conf or {}))
        self.states[run_id or ""] = "queued"
        return run_id or ""


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Any:
    def use(airflow: FakeAirflow) -> FakeAirflow:
        monkeypatch.setattr(run_dag, "AirflowApi", lambda _: airflow)
        monkeypatch.setattr(run_dag, "load_settings", Settings)
        return airflow

    return use


def operator() -> RunDagOperator:
    return RunDagOperator(task_id="commit", dag_to_run="lake_commit", conf={"a": 1}, limit=timedelta(hours=1))


CONTEXT: Any = {"dag_run": SimpleNamespace(dag_id="backfill", run_id="manual__1"), "ti": FakeTask("commit")}


def test_a_task_that_is_killed_and_tried_again_starts_one_run(given: Any) -> None:
    airflow = given(FakeAirflow())
    for _ in range(2):
        with pytest.raises(TaskDeferred):
            operator().execute(CONTEXT)
    assert airflow.started == [("lake_commit", "asked__backfill__manual__1", {"a": 1})]
    url = CONTEXT["ti"].xcoms["commit", STARTED_RUN.xcom_key]
    assert url.endswith("/dags/lake_commit/runs/asked__backfill__manual__1"), "shown while the task waits"


def test_a_cleared_task_starts_another_run_after_a_failed_one() -> None:
    airflow = FakeAirflow({"x": "failed", "x-2": "failed"})
    assert start_once(airflow, "lake_commit", "x", {}) == "x-3"
    assert start_once(airflow, "lake_commit", "x", {}) == "x-3"
    assert len(airflow.started) == 1


def test_a_paused_dag_fails_the_task_at_once_without_retries(given: Any) -> None:
    airflow = given(FakeAirflow(is_paused=True))
    with pytest.raises(AirflowFailException, match="tickhouse dags unpause lake_commit"):
        operator().execute(CONTEXT)
    assert airflow.started == []


@pytest.mark.parametrize(
    ("airflow", "left_s", "seen"),
    [
        (FakeAirflow({"r": "success"}), 60, "success"),
        (FakeAirflow({"r": "failed"}), 60, "failed"),
        (FakeAirflow({"r": "running"}), 60, None),
        (FakeAirflow({"r": "queued"}), 60, None),
        (FakeAirflow({"r": "queued"}, is_paused=True), 60, "paused"),
        (FakeAirflow({"r": "success"}, is_paused=True), 60, "success"),
        (FakeAirflow({"r": "running"}), -1, "late"),
        (FakeAirflow({"r": "success"}), -1, "success"),
        (FakeAirflow({}), 60, "removed"),
        (FakeAirflow(is_down=True), 60, None),
        (FakeAirflow(is_down=True), -1, "late"),
    ],
)
def test_the_state_that_the_trigger_finds(given: Any, airflow: FakeAirflow, left_s: float, seen: str | None) -> None:
    given(airflow)
    assert RunEnds("lake_commit", "r", time.time() + left_s).check_run() == seen


def test_the_trigger_fires_once_and_can_be_made_again(given: Any) -> None:
    given(FakeAirflow({"r": "success"}))
    name, arguments = RunEnds("lake_commit", "r", 2e9).serialize()
    assert name == "tickhouse.dag_tasks.run_dag.RunEnds"

    async def events() -> list[Any]:
        return [event.payload async for event in RunEnds(**arguments).run()]

    assert asyncio.run(events()) == [{"run_id": "r", "state": "success"}]


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ("failed", "ended as failed"),
        ("paused", "tickhouse dags unpause lake_commit"),
        ("late", "did not end within 1:00:00"),
    ],
)
def test_a_run_that_did_not_succeed_fails_the_task_without_retries(state: str, message: str) -> None:
    with pytest.raises(AirflowFailException, match=message):
        operator().ended(CONTEXT, {"run_id": "r", "state": state})


def test_a_run_that_succeeded_is_returned() -> None:
    assert operator().ended(CONTEXT, {"run_id": "r", "state": "success"}) == "r"
