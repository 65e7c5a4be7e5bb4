"""The checker's own statistics equal those of the stream, and each kind of wrong entry is named."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from hypothesis import given

from common.clients import statistics as names
from common.event_ids import StreamName
from spark.streaming.statistics import StatisticsBar, Window, statistics
from tests.unit.tickhouse.checks.reconcile.samples import BTC, ETH, START_US, markets, trade
from tickhouse.checks.reconcile.bars import MinuteBar, bars_of
from tickhouse.checks.reconcile.geode import StoredStatistics, compare, minute_key, statistics_key, stored
from tickhouse.checks.reconcile.model import MINUTE_US, CheckedStream, CheckedTrade
from tickhouse.checks.reconcile.store_result import StoreResult
from tickhouse.checks.reconcile.trade_comparison import COMPARE_ALL, Horizon

Entries = dict[str, dict[str, Any]]
OTHER = "XRPETH"
PERPETUAL = CheckedStream("coinm", "BTCUSD_PERP", "aggTrade")
# Two streams over 25 hours, so that the first bars are not in the window.
OFFERED = [
    trade(number, key=key, time_us=START_US + number * 11 * MINUTE_US, price=(number + 3) * 10**8)
    for key in (BTC, ETH, PERPETUAL)
    for number in range(140)
]


def written(trades: Iterable[CheckedTrade]) -> tuple[Entries, Entries]:
    """Return the entries that the stream writes for trades: statistics and minutes, by key."""
    windows: dict[StreamName, Window] = {}
    for bar in bars_of(trades).values():
        windows.setdefault(StreamName(*bar.key), Window()).merge([as_written(bar)])
    summaries = {
        names.statistics_key(stream): statistics(stream, window.bars.values()) for stream, window in windows.items()
    }
    minutes = {
        names.minute_key(stream, at): bar.to_entry(stream)
        for stream, window in windows.items()
        for at, bar in window.bars.items()
    }
    return summaries, minutes


def as_written(bar: MinuteBar) -> StatisticsBar:
    return StatisticsBar(bar.open_time_us, *(getattr(bar, name) for name in StatisticsBar._fields[1:]))


def checked(
    summaries: Mapping[str, Mapping[str, Any]],
    minutes: Mapping[str, Mapping[str, Any]],
    trades: Iterable[CheckedTrade],
    horizon: Horizon = COMPARE_ALL,
) -> StoreResult:
    result = StoreResult("geode")
    found: StoredStatistics = stored(summaries.values(), minutes.values(), frozenset([*summaries, *minutes]))
    compare(found, bars_of(trades), result, horizon=horizon)
    return result


def faults(result: StoreResult) -> dict[str, int]:
    return {name: count for name, count in result.faults.items() if count}


@given(markets())
def test_what_the_stream_writes_is_what_the_checker_expects(trades: list[CheckedTrade]) -> None:
    result = checked(*written(trades), trades)

    assert faults(result) == {}, result.examples
    assert result.delivered == sum(not one.is_sentinel for one in trades)


def test_only_the_window_of_each_stream_is_expected() -> None:
    summaries, minutes = written(OFFERED)

    result = checked(summaries, minutes, OFFERED)

    assert faults(result) == {}
    assert len(summaries) == 3
    assert len(minutes) == result.delivered == 3 * 131  # of 140, one per 11 minutes


def corrupted(region: Entries, key: str, how: str) -> Entries:
    """Corrupt one entry in one of five ways."""
    right = region[key]
    time = "minute_us" if "minute_us" in right else "newest_minute_us"
    changes: dict[str, Entries] = {
        "deleted": {},
        "doubled": {key: right, f"{key}x": right},
        "altered": {key: right | {"close": str(right["close"])[:-1] + "7"}},
        "moved": {key: right | {"symbol": OTHER}},
        "shifted": {key: right | {time: str(int(right[time]) - 600 * MINUTE_US)}},
    }
    return {name: value for name, value in region.items() if name != key} | changes[how]


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("deleted", {"missing": 1}),
        ("doubled", {"duplicate": 1}),
        ("altered", {"mismatch": 1}),
        ("moved", {"missing": 1, "mismatch": 1}),
        ("shifted", {"missing": 1, "mismatch": 1}),
    ],
)
def test_one_wrong_minute_is_found(how: str, expected: dict[str, int]) -> None:
    summaries, minutes = written(OFFERED)
    bar = max(bars_of(OFFERED).values(), key=lambda bar: (bar.key == BTC, bar.open_time_us))
    # Ten hours earlier there is a minute without a trade: 600 is no multiple of 11.
    wrong = corrupted(minutes, minute_key(bar), how)

    assert faults(checked(summaries, wrong, OFFERED)) == expected


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("deleted", {"missing": 1}),
        ("doubled", {"duplicate": 1}),
        ("altered", {"mismatch": 1}),
        ("moved", {"missing": 1, "mismatch": 1}),
        ("shifted", {"mismatch": 1}),
    ],
)
def test_one_wrong_statistic_is_found(how: str, expected: dict[str, int]) -> None:
    summaries, minutes = written(OFFERED)

    result = checked(corrupted(summaries, statistics_key(ETH), how), minutes, OFFERED)

    assert faults(result) == expected


def test_an_entry_under_another_key_is_found() -> None:
    summaries, minutes = written(OFFERED)
    key = statistics_key(BTC)
    summaries["elsewhere|aggTrade"] = summaries.pop(key)

    assert faults(checked(summaries, minutes, OFFERED)) == {"mismatch": 1}


def test_a_minute_that_left_the_window_must_be_gone() -> None:
    summaries, minutes = written(OFFERED)
    _, of_first_hours = written(OFFERED[:5])

    assert faults(checked(summaries, minutes | of_first_hours, OFFERED)) == {"mismatch": 5}


def test_a_stream_that_moves_on_while_it_is_read_is_ahead() -> None:
    later = [*OFFERED, *(trade(number, time_us=START_US + number * 11 * MINUTE_US) for number in range(140, 150))]
    horizon = Horizon({BTC: [(140, 10**12)]})

    result = checked(*written(later), OFFERED, horizon)

    assert faults(result) == {}
    assert result.ahead == 11  # ten minutes and the statistics


def test_an_unreadable_entry_is_a_mismatch() -> None:
    summaries, minutes = written(OFFERED)

    assert faults(checked(summaries, minutes | {"nonsense": {"price": 1}}, OFFERED)) == {"mismatch": 1}
