"""Days of points are removed by the time of the last write to them, not by their own time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from spark.streaming.series_sink import SeriesStore
from tests.integration.influxdb.conftest import SeriesBench
from tests.unit.tickhouse.checks.reconcile.samples import START_US, trade
from tickhouse.retention.declaration import SeriesKept
from tickhouse.retention.series import SeriesDays

pytestmark = pytest.mark.integration

KEPT = SeriesKept(days=90, seconds_days=7, minutes_days=400)
DAY_US = 86_400_000_000
MIDNIGHT_US = START_US // DAY_US * DAY_US
FIRST, SECOND = (
    [trade(number, time_us=MIDNIGHT_US + day * DAY_US + offset) for number, offset in numbered]
    for day, numbered in ((0, [(1, 0), (2, DAY_US - 1)]), (1, [(3, 0), (4, DAY_US - 1)]))
)
NOW = datetime(2026, 6, 1, tzinfo=UTC)


def written_days_ago(bench: SeriesBench, days: int) -> SeriesStore:
    at = NOW - timedelta(days=days)
    return SeriesStore(bench.settings, now_us=lambda: int(at.timestamp()) * 10**6)


def apply(bench: SeriesBench) -> list[str]:
    policy = SeriesDays(bench.settings, KEPT)
    steps = policy.plan(NOW).steps
    for step in steps:
        policy.do(step, NOW)
        policy.do(step, NOW)  # a run that died is repeated
    return [step.item for step in steps]


def test_a_day_is_removed_whole_when_nothing_was_written_to_it_for_long(bench: SeriesBench) -> None:
    bench.write(FIRST, written_days_ago(bench, 91))
    bench.write(SECOND, written_days_ago(bench, 89))

    assert apply(bench) == ["2024-08-08T00:00:00+00:00"]
    assert bench.compare(SECOND).ok
    assert apply(bench) == []


def test_a_late_trade_keeps_its_whole_day(bench: SeriesBench) -> None:
    bench.write(FIRST[:1], written_days_ago(bench, 200))
    bench.write(FIRST[1:], written_days_ago(bench, 10))

    assert apply(bench) == []
    assert bench.compare(FIRST).ok


def test_a_day_that_is_written_to_after_the_plan_stays(bench: SeriesBench) -> None:
    bench.write(FIRST, written_days_ago(bench, 91))
    policy = SeriesDays(bench.settings, KEPT)
    (step,) = policy.plan(NOW).steps
    bench.write(FIRST, written_days_ago(bench, 0))

    policy.do(step, NOW)

    assert bench.compare(FIRST).ok


def test_the_step_names_the_events_that_reconcile_must_not_miss(bench: SeriesBench) -> None:
    bench.write(FIRST, written_days_ago(bench, 91))

    (step,) = SeriesDays(bench.settings, KEPT).plan(NOW).steps

    assert step.covers is not None
    assert step.covers.event_from == datetime(2024, 8, 8, tzinfo=UTC)
    assert step.covers.event_until == datetime(2024, 8, 9, tzinfo=UTC)
