"""Why a run failed: kept by the task that failed, told by the last one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from common.errors import AuditFailed, ConfigurationError
from common.settings import Settings
from tests.unit.tickhouse.dag_tasks.contexts import FakeTask
from tickhouse.dag_tasks import failures
from tickhouse.dag_tasks.failures import UNKNOWN, announce, failure_of, first_cause, keep_failure, note_of
from tickhouse.dag_tasks.task import no_retry_on_terminal_error

AUDIT = AuditFailed(
    "etl-2024-08-09 breaks 2 laws: a; b",
    broken=("a", "b"),
    report="http://docs/r",
    days=("2024-08-09", "2024-08-09"),
)
RUN = SimpleNamespace(dag_id="nightly_batch", run_id="r1")


def raised(error: Exception) -> BaseException:
    """Return the error of a task that raises this one."""

    @no_retry_on_terminal_error
    def fail() -> None:
        raise error

    with pytest.raises(Exception, match=r".") as caught:
        fail()
    return caught.value


def test_the_text_of_a_wrong_parameter_is_kept() -> None:
    error = raised(ConfigurationError("Expected `date`, was 3.", next_command="trigger the DAG again"))

    assert isinstance(error, AirflowFailException), "not retried"
    assert failure_of(error) == {"error": "Expected `date`, was 3. Next: trigger the DAG again"}


def test_laws_report_and_days_of_an_audit_are_kept() -> None:
    kept = failure_of(raised(AUDIT))

    assert (kept["laws"], kept["report"], kept["from"], kept["to"]) == (
        ["a", "b"],
        "http://docs/r",
        "2024-08-09",
        "2024-08-09",
    )


def test_a_long_error_is_cut_and_many_laws_are_counted() -> None:
    many = AuditFailed("x" * 5_000, broken=[f"law {number}" for number in range(30)], report="http://docs/r")

    kept = failure_of(many)

    assert len(kept["error"]) == failures.MOST_CHARACTERS
    assert kept["laws"][-1] == "and 10 more in the report"


@pytest.mark.parametrize("error", [None, ""])
def test_a_task_without_an_error_was_killed(error: str | None) -> None:
    assert failure_of(error) == {"error": UNKNOWN}


def test_a_task_keeps_its_failure_and_the_last_task_keeps_none() -> None:
    task, last = FakeTask("prepare"), FakeTask("announce")

    keep_failure({"ti": task, "exception": ValueError("boom")})
    keep_failure({"ti": last, "exception": ValueError("boom")})

    assert task.xcoms == {("prepare", "failure"): {"error": "boom"}}
    assert last.xcoms == {}


def test_a_failed_audit_is_told_before_other_failures() -> None:
    assert first_cause({"a": {"error": "x"}, "b": {"error": "y", "report": "http://r"}})[0] == "b"
    assert first_cause({"b": {"error": "x"}, "a": {"error": "y"}})[0] == "a"
    assert first_cause({}) == ("unknown", {"error": UNKNOWN})


def test_the_note_of_a_failed_run() -> None:
    assert note_of("prepare", {"error": "no such ref"}) == "Failed in task prepare: no such ref"
    assert note_of("audit", failure_of(AUDIT)) == "Audit failed: http://docs/r\n- a\n- b"


def test_the_last_task_sends_one_message_sets_the_note_and_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[Any, ...]] = []
    notes: list[str] = []

    class FakeAirflow:
        def __init__(self, _: Settings) -> None: ...

        def __enter__(self) -> FakeAirflow:
            return self

        def __exit__(self, *_: object) -> None: ...

        def task_states(self, *_: str) -> dict[str, str]:
            return {"prepare": "failed", "killed": "failed", "audit": "upstream_failed", "announce": "running"}

    monkeypatch.setattr(failures, "AirflowApi", FakeAirflow)
    monkeypatch.setattr(failures, "load_settings", Settings)
    monkeypatch.setattr(failures, "set_note", lambda _, __, text: notes.append(text))
    monkeypatch.setattr(failures.alerts, "announce_failure", lambda _, *what: sent.append(what))
    task = FakeTask("announce")
    task.xcoms["prepare", "failure"] = failure_of(AUDIT)

    with pytest.raises(AirflowFailException, match="Run r1 failed in task prepare: etl-2024-08-09 breaks 2 laws"):
        announce(RUN, task)

    assert sent == [("nightly_batch", "r1", "prepare", failure_of(AUDIT))]
    assert notes == ["Audit failed: http://docs/r\n- a\n- b"]
