from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from spark.redis_sink import Last, advance, merge_ranges
from spark.sums import partials
from tests.unit.spark.test_sums import BTC, facts
from tests.unit.spark.trades import MINUTE_US, Trade


def play(batches: list[list[Trade]]) -> Last | None:
    last: Last | None = None
    for batch in batches:
        seen = {BTC: list(last.seen)} if last is not None else {}
        last = advance(last, partials(map(facts, batch), seen))
    return last


def market(count: int) -> list[Trade]:
    """Ids ascend with time, three trades a minute."""
    return [
        Trade(n, price=f"{n}.5", qty="0" if n % 7 == 6 else "2", time_us=n * (MINUTE_US // 3)) for n in range(1, count)
    ]


@given(st.integers(2, 14), st.randoms(use_true_random=False), st.data())
def test_any_cut_order_and_repeat_ends_the_same(count: int, random: Any, data: st.DataObject) -> None:
    trades = market(count)
    shuffled = [*trades, *data.draw(st.lists(st.sampled_from(trades), max_size=8))]
    random.shuffle(shuffled)
    cut = data.draw(st.integers(1, len(shuffled)))
    batches = [shuffled[at : at + cut] for at in range(0, len(shuffled), cut)]
    assert play(batches) == play([trades])


def test_average_is_the_vwap_of_the_newest_minute() -> None:
    last = play([[Trade(1, price="1", qty="1"), Trade(2, price="2", qty="2")]])
    assert last is not None
    assert last.average == Decimal("1.6666666666666667")
    assert (last.price, last.trades) == (Decimal(2), 2)


def test_sentinel_never_is_the_last_price() -> None:
    last = play([[Trade(1), Trade(2, price="0", qty="0")]])
    assert last is not None
    assert last.trade_id == 1


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 5)).map(lambda pair: (pair[0], pair[0] + pair[1]))))
def test_merged_ranges_hold_the_same_ids(ranges: list[tuple[int, int]]) -> None:
    def ids(of: Any) -> set[int]:
        return {number for lo, hi in of for number in range(lo, hi + 1)}

    merged = merge_ranges(ranges)
    assert ids(merged) == ids(ranges)
    assert all(left[1] + 1 < right[0] for left, right in pairwise(merged))


def test_hash_round_trip() -> None:
    last = play([[Trade(1, price="0.00000001", qty="3")]])
    assert last is not None
    assert Last.from_hash(last.to_hash()) == last
    assert last.to_hash()["price"] == "0.00000001"
