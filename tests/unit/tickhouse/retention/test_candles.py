from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from tickhouse.retention.candles import end_of, month_of, months_after, partition_of


@pytest.mark.parametrize("month", [date(2017, 7, 1), date(2024, 12, 1)])
def test_the_name_of_a_partition_contains_its_month(month: date) -> None:
    assert month_of(partition_of(month)) == month


def test_the_default_partition_has_no_month() -> None:
    assert month_of("candles_1m_default") is None


def test_months_go_over_the_year() -> None:
    assert months_after(date(2025, 11, 30), 2) == date(2026, 1, 1)
    assert months_after(date(2025, 11, 30), 0) == date(2025, 11, 1)
    assert end_of(date(2025, 12, 1)) == datetime(2026, 1, 1, tzinfo=UTC)
