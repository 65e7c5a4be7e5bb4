"""Which windows of the roll-ups are computed again for late trades."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.clients.influxdb import MINUTES, SECONDS, TASKS, flux_text, late_roll_up
from spark.streaming.series_sink import LATE_US, ROLL_UPS, windows


@pytest.mark.parametrize(
    ("ranges", "oldest", "expected"),
    [
        ([], 0, []),
        ([(5, 5)], 0, [(0, 10)]),
        ([(5, 20)], 0, [(0, 30)]),
        ([(5, 9), (12, 12)], 0, [(0, 10), (10, 20)]),
        ([(5, 12), (18, 31)], 0, [(0, 20), (20, 40)]),  # no window twice
        ([(5, 12)], 1, [(10, 20)]),  # the first window is older than the bucket keeps
        ([(5, 9)], 1, []),
    ],
)
def test_the_whole_windows_of_the_late_trades(
    ranges: list[tuple[int, int]], oldest: int, expected: list[tuple[int, int]]
) -> None:
    assert windows(ranges, 10, oldest) == expected


@given(st.lists(st.integers(0, 500), min_size=1), st.integers(1, 60))
def test_each_late_trade_is_in_exactly_one_window(times: list[int], width: int) -> None:
    found = windows([(at, at) for at in sorted(set(times))], width, 0)

    assert all(start % width == 0 and stop % width == 0 for start, stop in found)
    assert all(sum(start <= at < stop for start, stop in found) == 1 for at in times)


def test_a_late_roll_up_has_the_body_of_the_task_and_its_own_range() -> None:
    text = late_roll_up(SECONDS, 1_000_000_000, 5_000_000_000)

    assert text.startswith("start = time(v: 1000000000)\nstop = time(v: 5000000000)\n")
    assert not any(word in text for word in ("option task", "import"))
    assert text.count("save(field:") == 8


def test_the_two_tasks_differ_in_width_and_bucket_only() -> None:
    assert [roll_up.name for roll_up in ROLL_UPS] == [SECONDS, MINUTES]
    seconds, minutes = ((TASKS / f"{name}.flux").read_text() for name in (SECONDS, MINUTES))
    same = seconds.replace("one second", "one minute").replace("trades_1s", "trades_1m").replace("unit: 1s", "unit: 1m")
    assert minutes == same.replace("every: 10s", "every: 30s").replace("width = 1s", "width = 1m")


def test_the_tasks_look_back_further_than_a_trade_is_on_time() -> None:
    for roll_up in ROLL_UPS:
        assert "date.sub(d: 20s" in (TASKS / f"{roll_up.name}.flux").read_text()
    assert LATE_US + 5_000_000 <= 20_000_000


def test_a_symbol_cannot_leave_its_literal() -> None:
    assert flux_text('A" or true or "${x}\\') == '"A\\" or true or \\"\\${x}\\\\"'
