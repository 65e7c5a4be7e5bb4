"""The days of a run, and the branch that is named after them."""

from __future__ import annotations

from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from common.days import Days
from common.errors import ConfigurationError
from tickhouse.dag_tasks.nightly.publication import branch_of
from tickhouse.dag_tasks.params import EARLIEST, MAX_DAYS, bounded
from tickhouse.dag_tasks.run_context import days_of_run

THE_8TH, THE_9TH = date(2024, 8, 8), date(2024, 8, 9)
NOW = datetime(2026, 11, 29, 14, 5, tzinfo=UTC)
YESTERDAY = date(2026, 11, 28)


def run(run_type: str = "manual", logical_date: datetime | None = None, run_after: datetime = NOW) -> Any:
    return SimpleNamespace(run_type=run_type, logical_date=logical_date, run_after=run_after)


@pytest.mark.parametrize(
    ("params", "days"),
    [
        ({"date": "2024-08-09", "from": None, "to": None}, Days(THE_9TH, THE_9TH)),
        ({"from": "2024-08-08", "to": "2024-08-09"}, Days(THE_8TH, THE_9TH)),
        ({"date": "2024-08-09", "from": "2024-08-09", "to": "2024-08-09"}, Days(THE_9TH, THE_9TH)),
    ],
)
def test_parameters_decide_over_every_date(params: dict[str, Any], days: Days) -> None:
    found = days_of_run(params, run(logical_date=datetime(2024, 1, 1, tzinfo=UTC)))

    assert (found.days, found.is_chosen) == (days, True)


@pytest.mark.parametrize("hour", [0, 1, 23])
def test_a_manual_run_builds_the_day_of_its_logical_date(hour: int) -> None:
    """Once a run for 2024-08-09 built the day before the run, found nothing, and was green."""
    found = days_of_run({}, run(logical_date=datetime(2024, 8, 9, hour, 59, tzinfo=UTC)))

    assert (found.days, found.is_chosen) == (Days(THE_9TH, THE_9TH), True)


@pytest.mark.parametrize("run_type", ["operator_triggered", "asset_materialization"])
def test_so_does_every_other_run_that_somebody_starts(run_type: str) -> None:
    assert days_of_run({}, run(run_type, datetime(2024, 8, 9, tzinfo=UTC))).days == Days(THE_9TH, THE_9TH)


@pytest.mark.parametrize("run_type", ["scheduled", "backfill"])
def test_a_night_builds_the_day_of_its_data_interval(run_type: str) -> None:
    night = datetime(2024, 8, 9, 0, 40, tzinfo=UTC)
    after = datetime(2024, 8, 10, 0, 40, tzinfo=UTC)

    found = days_of_run({}, run(run_type, night, after))

    assert (found.days, found.is_chosen) == (Days(THE_9TH, THE_9TH), False)


def test_a_logical_date_of_today_is_no_choice() -> None:
    """Airflow's trigger form fills in the present time, and the day is not over."""
    found = days_of_run({}, run(logical_date=NOW))

    assert (found.days, found.is_chosen) == (Days(YESTERDAY, YESTERDAY), False)
    assert "2026-11-29 is not over" in found.why
    assert days_of_run({}, run()).days == Days(YESTERDAY, YESTERDAY)


def test_a_logical_date_in_the_future_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="was 2026-11-30"):
        days_of_run({}, run(logical_date=datetime(2026, 11, 30, 1, tzinfo=UTC)))


@pytest.mark.parametrize(
    "params",
    [
        {"from": "2024-08-08"},
        {"to": "2024-08-08"},
        {"date": "2024-08-01", "from": "2024-08-08", "to": "2024-08-09"},
        {"date": "2024-08-08", "from": "2024-08-08", "to": "2024-08-09"},
    ],
)
def test_incomplete_ranges_and_contradicting_days_are_refused(params: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="Expected `date`"):
        days_of_run(params, run())


def test_a_range_in_the_wrong_order_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="first day 2024-08-09 is after the last day 2024-08-08"):
        days_of_run({"from": "2024-08-09", "to": "2024-08-08"}, run())


def test_days_are_bounded() -> None:
    longest = Days(date(2024, 1, 1), date(2024, 4, 1))
    assert len(longest) == MAX_DAYS
    assert bounded(longest.first, longest.last, NOW.date()) == longest
    assert bounded(NOW.date(), NOW.date(), NOW.date()), "a parameter may name a day that is not over"
    with pytest.raises(ConfigurationError, match="at most 92 days per run, was 93"):
        bounded(longest.first, date(2024, 4, 2), NOW.date())
    with pytest.raises(ConfigurationError, match="Expected days from"):
        bounded(date(2017, 6, 30), EARLIEST, NOW.date())
    with pytest.raises(ConfigurationError, match="Expected days from"):
        bounded(NOW.date(), date(2026, 11, 30), NOW.date())


def test_branches_are_named_after_their_days() -> None:
    assert branch_of(Days(THE_8TH, THE_8TH)) == "etl-2024-08-08"
    assert branch_of(Days(THE_8TH, THE_9TH)) == "etl-2024-08-08-to-2024-08-09"
