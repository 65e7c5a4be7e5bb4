"""Which nights were missed, and which days a run builds."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from common.days import Days
from tickhouse.dag_tasks.nightly.missed_nights import WINDOW_DAYS, missed_days, run_id_of
from tickhouse.dag_tasks.run_context import asked_day, days_of

NIGHT = date(2026, 11, 28)


def days(*numbers: int) -> set[date]:
    return {NIGHT - timedelta(days=number) for number in numbers}


@pytest.mark.parametrize(
    ("ingested", "published", "missed"),
    [
        (days(0, 1, 2, 3), days(1, 2, 3), days()),
        (days(0, 1, 2, 3, 4), days(4), days(1, 2, 3)),  # three nights off
        (days(0, 1, 3, 4), days(4), days(1, 3)),  # nothing was traded on one of them
        (days(0), days(), days()),  # the night's own day is built anyway
        (days(-1, 0, 2), days(), days(2)),  # that day is not over
        (days(WINDOW_DAYS, WINDOW_DAYS + 1), days(), days(WINDOW_DAYS)),  # older ones come from replays
        (days(), days(1), days()),
    ],
)
def test_missed_days(ingested: set[date], published: set[date], missed: set[date]) -> None:
    assert missed_days(ingested, published, NIGHT) == sorted(missed)


def test_a_night_that_runs_twice_requests_the_same_runs() -> None:
    assert run_id_of(date(2026, 11, 25), NIGHT) == "missed__2026-11-25__found__2026-11-28"


def dag_run(run_type: str, logical: datetime | None) -> Any:
    return SimpleNamespace(
        run_type=run_type, logical_date=logical, run_after=datetime(2026, 11, 29, 0, 40, 5, tzinfo=UTC)
    )


@pytest.mark.parametrize(
    ("run", "day"),
    [
        (dag_run("manual", datetime(2024, 8, 9, tzinfo=UTC)), date(2024, 8, 9)),
        (dag_run("manual", datetime(2026, 11, 29, 0, 40, 4, tzinfo=UTC)), NIGHT),
        (dag_run("manual", None), NIGHT),
        (dag_run("scheduled", datetime(2026, 11, 29, 0, 40, tzinfo=UTC)), NIGHT),
        (dag_run("scheduled", datetime(2026, 11, 28, 0, 40, tzinfo=UTC)), NIGHT),
    ],
)
def test_a_manual_run_for_a_day_builds_that_day(run: Any, day: date) -> None:
    assert days_of({}, run.run_after, asked_day(run)) == Days(day, day)


def test_parameters_come_before_the_logical_date() -> None:
    run = dag_run("manual", datetime(2024, 8, 9, tzinfo=UTC))
    assert days_of({"date": "2024-08-01"}, run.run_after, asked_day(run)).first == date(2024, 8, 1)
