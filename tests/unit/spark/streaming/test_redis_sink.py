from __future__ import annotations

import json
from decimal import Decimal
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from spark.streaming.partial_sums import SymbolStream, merge_ranges, partials
from spark.streaming.redis_sink import LatestTrade, _ranges_of, _text_of, advance, live_entries
from tests.unit.spark.streaming.test_partial_sums import BTC, facts
from tests.unit.spark.trades import MINUTE_US, Trade


def play(batches: list[list[Trade]]) -> LatestTrade | None:
    last: LatestTrade | None = None
    for batch in batches:
        seen = {BTC: list(last.seen)} if last is not None else {}
        last = advance(last, partials(map(facts, batch), seen))
    return last


def market(count: int) -> list[Trade]:
    """Return trades whose ids ascend with time, three per minute."""
    return [
        Trade(n, price=f"{n}.5", qty="0" if n % 7 == 6 else "2", time_us=n * (MINUTE_US // 3)) for n in range(1, count)
    ]


@given(st.integers(2, 14), st.randoms(use_true_random=False), st.data())
def test_any_split_order_and_repeat_ends_the_same(count: int, random: Any, data: st.DataObject) -> None:
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
    assert LatestTrade.from_hash(last.to_hash()) == last
    assert last.to_hash()["price"] == "0.00000001"


@given(st.lists(st.tuples(st.integers(0, 10**12), st.integers(0, 50))))
def test_the_ids_of_a_minute_round_trip(ranges: list[tuple[int, int]]) -> None:
    seen = merge_ranges((lo, lo + length) for lo, length in ranges)
    assert _ranges_of(_text_of(seen)) == seen


def test_ids_that_skip_take_four_bytes_each_and_the_older_format_is_read() -> None:
    seen = tuple((n, n) for n in range(3_000_000_000, 3_000_020_000, 2))
    assert len(_text_of(seen)) < 4 * len(seen) + 20
    assert _ranges_of("[[3,3],[5,9]]") == ((3, 3), (5, 9))
    assert _ranges_of("[]") == ()


def test_each_trade_that_became_the_latest_is_in_the_live_stream_once() -> None:
    trades = market(9)
    before: dict[SymbolStream, LatestTrade] = {}
    found: list[dict[str, str]] = []
    for batch in (trades[:3], trades[:3], trades[2:5], trades[4:], trades):
        seen = {stream: list(last.seen) for stream, last in before.items()}
        last = advance(before.get(BTC), partials(map(facts, batch), seen))
        assert last is not None
        found += live_entries(before, {BTC: last})
        before = {BTC: last}
    ids = [json.loads(one["data"])["event_id"] for one in found]
    # The seventh trade is void.
    assert ids == [trades[at].event_id for at in (2, 4, 7)]
    assert {(one["kind"], one["market"], one["symbol"]) for one in found} == {("trade", "spot", "BTCUSDT")}
    assert json.loads(found[0]["data"])["price"] == "3.50000000"
