"""Which nights were missed."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from tickhouse.dag_tasks.nightly.missed_nights import WINDOW_DAYS, missed_days, run_id_of

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
