"""The days of a run, and the branch that is named after them."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest

from common.days import Days
from common.errors import ConfigurationError
from tickhouse.dag_tasks.nightly.publication import branch_of
from tickhouse.dag_tasks.run_context import days_of

MORNING = datetime(2024, 8, 9, 0, 40, tzinfo=UTC)
THE_8TH, THE_9TH = date(2024, 8, 8), date(2024, 8, 9)


@pytest.mark.parametrize(
    ("params", "days"),
    [
        ({}, Days(THE_8TH, THE_8TH)),
        ({"date": "2024-08-09", "from": None, "to": None}, Days(THE_9TH, THE_9TH)),
        ({"from": "2024-08-08", "to": "2024-08-09"}, Days(THE_8TH, THE_9TH)),
    ],
)
def test_days(params: dict[str, Any], days: Days) -> None:
    assert days_of(params, MORNING) == days


@pytest.mark.parametrize(
    "params",
    [
        {"from": "2024-08-08"},
        {"to": "2024-08-08"},
        {"from": "2024-08-09", "to": "2024-08-08"},
        {"date": "2024-08-01", "from": "2024-08-08", "to": "2024-08-09"},
    ],
)
def test_incomplete_ranges_and_contradicting_days_are_refused(params: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="Expected `date`"):
        days_of(params, MORNING)


def test_branches_are_named_after_their_days() -> None:
    assert branch_of(Days(THE_8TH, THE_8TH)) == "etl-2024-08-08"
    assert branch_of(Days(THE_8TH, THE_9TH)) == "etl-2024-08-08-to-2024-08-09"
