"""The interval set behaves as Python's own set."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from common.intervals import IntervalSet

NUMBERS = st.integers(0, 60)
RANGES = st.lists(st.tuples(NUMBERS, NUMBERS))


def members(ranges) -> set[int]:
    return {number for low, high in ranges for number in range(low, high + 1)}


@given(RANGES, st.lists(NUMBERS))
def test_it_holds_what_was_added(ranges, singles):
    intervals, model = IntervalSet(ranges), members(ranges) | set(singles)
    for number in singles:
        intervals.add(number)
    assert members(intervals) == model
    assert [number in intervals for number in range(-1, 62)] == [number in model for number in range(-1, 62)]
    assert intervals.count() == len(model)
    assert intervals.last == max(model, default=None)


@given(RANGES)
def test_ranges_are_sorted_and_never_touch(ranges):
    stored = list(IntervalSet(ranges))
    assert all(low <= high for low, high in stored)
    assert all(low > high + 1 for (_, high), (low, _) in pairwise(stored))


@given(RANGES, RANGES)
def test_order_of_adding_does_not_matter(first, second):
    one, other = IntervalSet(first), IntervalSet(second)
    one.update(second)
    other.update(first)
    assert one == other


@given(RANGES, NUMBERS, NUMBERS)
def test_missing_is_the_complement(ranges, low, high):
    intervals = IntervalSet(ranges)
    assert members(intervals.missing(low, high)) == set(range(low, high + 1)) - members(ranges)
    span = set(range(min(members(ranges), default=0), (intervals.last or 0) + 1))
    assert members(intervals.gaps()) == span - (members(ranges) or {0})


def test_ids_in_sequence_cost_one_range():
    intervals = IntervalSet()
    for number in range(5_723_703_861, 5_723_703_961):
        intervals.add(number)
    assert list(intervals) == [(5_723_703_861, 5_723_703_960)]
