from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tickhouse.checks.reconcile import ranges

sets = st.sets(st.integers(0, 40))


def ids(spans):
    return {number for low, high in spans for number in range(low, high + 1)}


@given(sets)
def test_ranges_hold_exactly_their_ids(numbers):
    spans = ranges.of_ids(numbers)
    assert ids(spans) == numbers
    assert ranges.size(spans) == len(numbers)
    assert all(high + 1 < low for (_, high), (low, _) in pairwise(spans))
    assert all(ranges.contains(spans, number) == (number in numbers) for number in range(42))


@given(sets, sets)
def test_subtract_is_set_difference(left, right):
    assert ids(ranges.subtract(ranges.of_ids(left), ranges.of_ids(right))) == left - right


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 9))))
def test_merged_keeps_every_id(spans):
    whole = [(low, low + length) for low, length in spans]
    assert ids(ranges.merged(whole)) == ids(whole)
