from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tickhouse.retention.declaration import IndicesKept
from tickhouse.retention.indices import IndexInfo, due, period

NOW = datetime(2026, 8, 15, tzinfo=UTC)
KEPT = IndicesKept(days=30, most_indices=40)
TRADES = "crypto-trades-"


def made(days_ago: int) -> IndexInfo:
    return IndexInfo(NOW - timedelta(days=days_ago), 1000, 10)


def removed(found: dict[str, IndexInfo], kept: IndicesKept = KEPT) -> list[str]:
    return [step.item for step in due(found, TRADES, kept, NOW)]


def test_an_index_is_removed_when_its_creation_and_its_month_are_both_old() -> None:
    found = {
        "crypto-trades-2026.06": made(70),
        "crypto-trades-2026.07": made(45),  # its last trades came 15 days ago
        "crypto-trades-2026.08": made(14),
    }
    assert removed(found) == ["crypto-trades-2026.06"]


def test_history_that_is_replayed_today_stays_as_long_as_todays_trades() -> None:
    assert removed({"crypto-trades-2019.01": made(29)}) == []
    assert removed({"crypto-trades-2019.01": made(31)}) == ["crypto-trades-2019.01"]


def test_the_oldest_are_removed_first_when_there_are_too_many() -> None:
    months = [f"crypto-trades-{year}.{month:02}" for year in (2020, 2021, 2022, 2023) for month in range(1, 13)]
    found = {name: made(20 - number // 12) for number, name in enumerate(months)}
    assert removed(found) == months[:8]


def test_a_step_covers_the_events_of_its_month_that_have_arrived() -> None:
    (step,) = due({"crypto-trades-2019.12": made(50)}, TRADES, KEPT, NOW)
    assert step.covers == (datetime(2019, 12, 1, tzinfo=UTC), datetime(2020, 1, 1, tzinfo=UTC), NOW)
    assert (step.bytes, step.rows) == (1000, 10)


def test_indices_of_another_kind_or_without_a_period_stay() -> None:
    assert removed({"crypto-ticks-2019.01": made(99), "crypto-trades-mine": made(99)}) == []


@pytest.mark.parametrize(
    ("name", "first", "end"),
    [
        ("2024.12", (2024, 12, 1), (2025, 1, 1)),
        ("2024.02.29", (2024, 2, 29), (2024, 3, 1)),
        ("2024", (2024, 1, 1), (2025, 1, 1)),
    ],
)
def test_the_name_of_an_index_contains_its_period(
    name: str, first: tuple[int, int, int], end: tuple[int, int, int]
) -> None:
    assert period(name) == (datetime(*first, tzinfo=UTC), datetime(*end, tzinfo=UTC))


def test_1100_days_of_a_rare_symbol_are_few_indices() -> None:
    days = [datetime(2018, 5, 4, tzinfo=UTC) + timedelta(days=number) for number in range(1_100)]
    assert len({f"crypto-trades-{day:%Y.%m}" for day in days}) == 37
