"""The command with fake policies: its output, its order of steps, its exit code."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

from common.errors import StoreUnavailable
from tickhouse.cli import app
from tickhouse.cli.render.retention import figure
from tickhouse.retention import run
from tickhouse.retention.policy import EPOCH, Covers, Step, StorePlan

NOW = datetime(2026, 8, 15, tzinfo=UTC)
COVERED = Step("remove", "crypto-trades-2019.01", "old", 3_400_000, 10, Covers(EPOCH, NOW, NOW))


@dataclass
class Record:
    """Collects what is recorded and what is done, in order."""

    steps: list[str] = field(default_factory=list)

    def mark_gone(self, store: str, items: list[str]) -> None:
        self.steps.append(f"mark_gone {store} {items}")

    def plan(self, store: str, step: Step) -> None:
        self.steps.append(f"plan {step.item}")

    def mark_removed(self, store: str, step: Step) -> None:
        self.steps.append(f"done {step.item}")


@dataclass
class Fake:
    """A store with some steps; `breaks_at` is one that fails."""

    store: str
    steps: tuple[Step, ...] = ()
    breaks_at: str = ""
    record: Record = field(default_factory=Record)
    declared: str = "a while"

    def plan(self, now: datetime) -> StorePlan:
        if self.breaks_at == "plan":
            raise StoreUnavailable(f"{self.store} does not answer.")
        return StorePlan(self.store, self.declared, 12_345_678, self.steps)

    def do(self, step: Step, now: datetime) -> None:
        if step.item == self.breaks_at:
            raise StoreUnavailable(f"{self.store} is away.")
        self.record.steps.append(f"do {step.item}")


def applied(policy: Fake) -> StorePlan:
    return run._apply_plan(policy, run._plan_store(policy, NOW), policy.record, NOW, lambda line: None)  # type: ignore[arg-type]


def test_a_removal_is_recorded_before_and_marked_after() -> None:
    policy = Fake("elasticsearch", (COVERED,))
    assert applied(policy).done == 1
    item = COVERED.item
    assert policy.record.steps == [f"mark_gone elasticsearch ['{item}']", f"plan {item}", f"do {item}", f"done {item}"]


def test_a_step_that_fails_stays_planned_and_ends_the_work_on_its_store_only() -> None:
    steps = (Step("remove", "a", ""), Step("remove", "b", ""), Step("remove", "c", ""))
    policy = Fake("mongodb", steps, breaks_at="b")
    plan = applied(policy)
    assert (plan.done, plan.error) == (1, "mongodb is away.")
    assert policy.record.steps[-2:] == ["done a", "plan b"]


def test_a_store_that_does_not_answer_is_named_and_nothing_of_it_is_marked() -> None:
    policy = Fake("lake", breaks_at="plan")
    plan = applied(policy)
    assert (plan.error, policy.record.steps) == ("lake does not answer.", [])
    with pytest.raises(StoreUnavailable, match="lake: lake does not answer"):
        run.require_all_done([plan])


@pytest.fixture
def stores(monkeypatch: pytest.MonkeyPatch) -> list[Fake]:
    found = [Fake("elasticsearch", (COVERED,)), Fake("lake")]
    monkeypatch.setattr("tickhouse.retention.policies.policies", lambda settings: found)
    return found


def test_the_plan_is_a_table_for_people(stores: list[Fake]) -> None:
    done = CliRunner().invoke(app, ["retention", "plan"], env={"COLUMNS": "160"})
    assert done.exit_code == 0
    for part in ("elasticsearch", "12.3 MB", "a while", "remove crypto-trades-2019.01: old", "3.4 MB", "nothing"):
        assert part in done.output


def test_the_plan_is_one_document_for_scripts(stores: list[Fake]) -> None:
    done = CliRunner().invoke(app, ["retention", "plan", "--json"])
    document = json.loads(done.stdout)
    assert document["frees_bytes"] == 3_400_000
    assert [one["store"] for one in document["stores"]] == ["elasticsearch", "lake"]
    assert document["stores"][0]["steps"] == [
        {"action": "remove", "item": "crypto-trades-2019.01", "why": "old", "bytes": 3_400_000, "rows": 10}
    ]


def test_a_plan_with_a_store_that_is_down_shows_the_others_and_fails(stores: list[Fake]) -> None:
    stores[1].breaks_at = "plan"
    done = CliRunner().invoke(app, ["retention", "plan"], env={"COLUMNS": "160"})
    assert done.exit_code == 23
    assert "crypto-trades-2019.01" in done.output
    assert "lake does not answer" in done.output


def test_an_unknown_store_is_refused(stores: list[Fake]) -> None:
    done = CliRunner().invoke(app, ["retention", "apply", "--store", "lakes"])
    assert done.exit_code == 2
    assert "Expected stores of elasticsearch, lake, was lakes." in done.output


@pytest.mark.parametrize(
    ("size", "text"), [(None, ""), (0, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (5e12, "5.0 TB")]
)
def test_bytes_are_written_for_people(size: int | None, text: str) -> None:
    assert figure(size) == text
