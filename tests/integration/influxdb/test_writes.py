"""One point per trade: exact, once, and never overwritten by another trade."""

from __future__ import annotations

import random

import pytest

from spark.streaming.series_points import MOST_ALIKE, TOO_MANY_ALIKE
from spark.streaming.series_sink import REFUSED, SeriesStore
from tests.integration.influxdb.conftest import SeriesBench, point
from tests.integration.sinks.trades import BTC, OFFERED
from tests.unit.tickhouse.checks.reconcile.samples import START_US, trade
from tickhouse.checks.reconcile.model import CheckedTrade

pytestmark = pytest.mark.integration


def test_all_digits_of_every_trade_come_back(bench: SeriesBench) -> None:
    big = trade(77, price=10**27 + 1, qty=3, time_us=START_US + 5)
    written = bench.write([*OFFERED, big])

    result = bench.compare([*OFFERED, big])
    assert (written.points, written.clashes, written.refused) == (len(OFFERED) + 1, 0, ())
    assert result.ok, result.examples
    assert result.delivered == len(OFFERED) + 1


def test_a_repeat_gives_the_same_points_whatever_the_batches(bench: SeriesBench) -> None:
    bench.write(OFFERED)
    before = bench.stored()

    bench.write(OFFERED)
    bench.write(random.Random(3).sample(OFFERED, len(OFFERED)))
    for start in range(0, len(OFFERED), 7):
        bench.write(OFFERED[start : start + 7])

    assert bench.stored() == before


def alike(*numbers: int, side: str = "BUY") -> list[CheckedTrade]:
    """Return trades of one microsecond whose ids end with the same three digits."""
    return [trade(1000 * number + 5, time_us=START_US, side=side) for number in numbers]


def test_trades_that_are_alike_do_not_replace_each_other_within_a_batch(bench: SeriesBench) -> None:
    trades = [*alike(1, 2, 3), *alike(4, 5, side="SELL"), trade(6, time_us=START_US)]

    assert bench.write(trades).clashes == 3
    assert bench.compare(trades).ok


def test_trades_that_are_alike_do_not_replace_each_other_across_batches(bench: SeriesBench) -> None:
    store, trades = SeriesStore(bench.settings), alike(9, 1, 5, 3)
    for one in trades:
        bench.write([one], store)
    assert bench.compare(trades).ok

    before = bench.stored()
    assert bench.write(trades, store).clashes == 0
    assert bench.write(trades[::-1]).clashes == 0  # another driver, in another order
    assert bench.stored() == before


def test_a_new_driver_finds_the_trades_that_are_alike_in_an_old_day(bench: SeriesBench) -> None:
    newer = trade(50_000, time_us=START_US + 86_400_000_000)
    bench.write([*alike(1), newer])

    assert bench.write([*alike(2), trade(7, time_us=START_US - 1)]).clashes == 1
    assert bench.compare([*alike(1, 2), newer, trade(7, time_us=START_US - 1)]).ok


def test_too_many_alike_are_refused_by_name(bench: SeriesBench) -> None:
    trades = alike(*range(MOST_ALIKE + 2))

    written = bench.write(trades)

    assert [(one.point.trade_id, one.reason) for one in written.refused] == [
        (one.trade_id, TOO_MANY_ALIKE) for one in trades[MOST_ALIKE:]
    ]
    assert bench.compare(trades[:MOST_ALIKE]).ok


def test_a_file_of_2019_is_stored_like_todays_trades(bench: SeriesBench) -> None:
    old = [trade(number, time_us=1_557_000_000_000_000 + number * 1000) for number in range(1, 200)]

    assert bench.write(old).refused == ()
    assert bench.compare(old).ok


def test_a_point_that_the_server_refuses_is_named_and_the_others_are_stored(bench: SeriesBench) -> None:
    trades = [trade(number) for number in range(1, 300)]
    bad = point(trade(1500, key=BTC._replace(symbol="ETHBTC"), time_us=START_US))
    conflict = bad._replace(fields=bad.fields.replace("trade_id=1500i", 'trade_id="1500"'))
    store = SeriesStore(bench.settings)

    written = store.write([*(point(one) for one in trades[:150]), conflict, *(point(one) for one in trades[150:])])

    ((refused, reason, detail),) = written.refused
    assert (refused.trade_id, reason) == (1500, REFUSED)
    assert "field type conflict" in detail
    assert bench.compare(trades).ok


def test_a_time_beyond_the_servers_range_is_refused(bench: SeriesBench) -> None:
    far = trade(1, time_us=9_300_000_000_000_000)

    (refused,) = bench.write([far, trade(2)]).refused

    assert (refused.point.trade_id, refused.reason) == (1, "time_out_of_range")
    assert bench.compare([trade(2)]).ok
