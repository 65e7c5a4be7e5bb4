"""The market slows down with the pipeline, stands still behind it, and takes up speed again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickhouse.demo.pace import HIGH_LAG, LEAST_SHARE, LOW_LAG, STOP_LAG, next_pace, slowest

MOST = 20.0


@pytest.mark.parametrize(
    ("pace", "lag", "wanted"),
    [
        (20.0, 0, 20.0),
        (20.0, 30_000, 20.0),
        (20.0, 40_000, 10.0),
        (2.0, 79_999, 1.25),
        (20.0, 80_000, 0.0),
        (0.0, 150_000, 0.0),
        (0.0, 50_000, 0.0),  # it starts again only when the store has caught up
        (0.0, 20_000, 1.25),
        (1.25, 100, 1.875),
        (15.0, 100, 20.0),
    ],
)
def test_pace(pace: float, lag: int, wanted: float) -> None:
    assert next_pace(pace, lag, MOST) == wanted


@given(st.floats(0, MOST), st.integers(0, 10**7), st.floats(MOST, 1_000))
def test_a_pace_is_never_faster_than_allowed_and_a_store_that_has_caught_up_gets_more(
    pace: float, lag: int, most: float
) -> None:
    found = next_pace(pace, lag, most)
    assert 0 <= found <= most
    if lag <= LOW_LAG:
        assert found >= min(most, max(pace, most * LEAST_SHARE))
    if lag >= HIGH_LAG:
        assert found <= max(pace, most * LEAST_SHARE)
    if lag >= STOP_LAG:
        assert found == 0


def test_the_lag_of_a_slow_store_stays_bounded() -> None:
    """A reader of 1,000 records/s, a market of 3,200: the lag stays bounded, the market ends."""
    pace, lag, left = MOST, 0.0, 210_000.0
    worst = seconds = 0.0
    while left > 0 or lag > 0:
        played = min(left, pace / MOST * 3_200)
        left, lag = left - played, max(0.0, lag + played - 1_000)
        pace = next_pace(pace, int(lag), MOST)
        worst, seconds = max(worst, lag), seconds + 1
    assert worst < STOP_LAG
    assert seconds < 300


def test_the_slowest_consumer_counts_and_one_without_offsets_lags_by_all_records() -> None:
    assert slowest({}, {}) == 0
    assert slowest({"stream:last": 5, "connect-mongodb-trades": 150_000}, {}) == 150_000
    assert slowest({"stream:last": 5}, {"connect-mongodb-trades": 900, "stream:last": 10**6}) == 900
