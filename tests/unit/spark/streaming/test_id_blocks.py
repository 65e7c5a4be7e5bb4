"""Ids for PostgreSQL: split into blocks, encoded in its binary format, intersected with its ids."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from psycopg.types.multirange import Int8MultirangeBinaryDumper
from psycopg.types.multirange import Multirange as PsycopgMultirange
from psycopg.types.range import Range

from spark.streaming.candle_sink import Multirange, blocks_of, intersection
from spark.streaming.partial_sums import Ranges, SymbolStream, merge_ranges, runs

BTC = SymbolStream("spot", "BTCUSDT", "aggTrade")
IDS = st.sets(st.integers(-5, 60) | st.integers(16_375, 16_390) | st.integers(2**53, 2**53 + 5))


def ranges(ids: set[int]) -> Ranges:
    return [(run["lo"], run["hi"]) for run in runs(ids)]


def numbers(found: Ranges) -> set[int]:
    return {n for lo, hi in found for n in range(lo, hi + 1)}


@given(IDS)
def test_the_binary_format_equals_that_of_psycopg(ids: set[int]) -> None:
    mine = Multirange.of(ranges(ids))
    theirs = PsycopgMultirange([Range(lo, hi + 1) for lo, hi in ranges(ids)])
    assert mine == Int8MultirangeBinaryDumper(PsycopgMultirange).dump(theirs)
    assert mine.ranges() == ranges(ids)


@given(st.lists(IDS, max_size=4))
def test_blocks_hold_each_id_once(several: list[set[int]]) -> None:
    found = blocks_of([{**BTC._asdict(), "ids": runs(ids)} for ids in several])
    assert list(found) == sorted(found)
    assert all(lo >> 14 == hi >> 14 == block for (_, block), cut in found.items() for lo, hi in cut)
    assert all(list(merge_ranges(cut)) == cut for cut in found.values())
    assert set().union(*map(numbers, found.values())) == set().union(*several)


def test_a_run_over_several_blocks_is_split_at_each() -> None:
    found = blocks_of([{**BTC._asdict(), "ids": [{"lo": 16_383, "hi": 32_768}]}])
    assert found == {(BTC, 0): [(16_383, 16_383)], (BTC, 1): [(16_384, 32_767)], (BTC, 2): [(32_768, 32_768)]}


@given(IDS, IDS)
def test_the_intersection_is_that_of_the_sets(one: set[int], other: set[int]) -> None:
    assert list(intersection(ranges(one), ranges(other))) == ranges(one & other)
