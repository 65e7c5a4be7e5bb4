"""Which days of points are removed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tickhouse.retention.series import due

NOW = datetime(2026, 6, 1, tzinfo=UTC)
DAY = datetime(2019, 5, 4, tzinfo=UTC)


@pytest.mark.parametrize(
    ("day", "written_days_ago", "is_due"),
    [
        (DAY, 0, False),  # a file of 2019 that was replayed today stays as long as today's trades
        (DAY, 89, False),
        (DAY, 90, False),  # the mark may be an hour old when a point is written
        (DAY, 91, True),
        (NOW - timedelta(days=90), 91, False),  # its end is not old enough
    ],
)
def test_a_day_is_due_by_its_last_write_and_its_end(day: datetime, written_days_ago: int, is_due: bool) -> None:
    steps = due({day: NOW - timedelta(days=written_days_ago)}, 90, NOW)

    assert [step.item for step in steps] == ([day.isoformat()] if is_due else [])


def test_the_oldest_day_is_first() -> None:
    long_ago = NOW - timedelta(days=400)
    days = [DAY + timedelta(days=number) for number in (3, 1, 2)]

    assert [step.item for step in due(dict.fromkeys(days, long_ago), 90, NOW)] == [
        day.isoformat() for day in sorted(days)
    ]
