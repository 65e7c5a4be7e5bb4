"""Gaps: which ids are missing, how a gap is split, and what a restart restores."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer.ledger.gaps import GapBook, has_dense_ids
from tests.unit.producer.fakes import NOW_US, ledger_of


@pytest.mark.parametrize(
    ("market", "stream", "is_dense"),
    [("spot", "aggTrade", True), ("usdm", "aggTrade", True), ("spot", "trade", True), ("usdm", "trade", False),
     ("coinm", "trade", False), ("spot", "bookTicker", False)],
)  # fmt: skip
def test_which_ids_are_dense(market, stream, is_dense):
    assert has_dense_ids(market, stream) is is_dense


def open_gap(*ids):
    book, ledger = GapBook(), ledger_of(*ids)
    book.open(ledger, ledger.holes(), now_us=NOW_US, reason="missed", source="WEBSOCKET")
    return book, ledger


def test_an_unfillable_middle_splits_a_gap_in_three():
    book, ledger = open_gap(1, 20)
    [gap] = book.open_gaps()
    book.mark_unfillable(gap, 5, 8, now_us=NOW_US, reason="not served")
    assert sorted((gap.first_id, gap.last_id, gap.state) for gap in book.take_changed()) == [
        (2, 4, "open"), (5, 8, "unfillable"), (9, 19, "open"),
    ]  # fmt: skip
    assert sorted(gap.first_id for gap in book.open_of(ledger)) == [2, 9]


@given(st.integers(2, 19), st.integers(0, 17))
def test_every_id_stays_in_a_gap_when_some_are_unfillable(low, length):
    high = min(19, low + length)
    book, _ = open_gap(1, 20)
    [gap] = book.open_gaps()
    book.mark_unfillable(gap, low, high, now_us=NOW_US, reason="x")
    ids = [n for gap in book.take_changed() for n in range(gap.first_id, gap.last_id + 1)]
    assert sorted(ids) == list(range(2, 20))


def test_gaps_are_restored_after_a_restart():
    book, ledger = open_gap(1, 5, 10)
    values = [
        json.loads(json.dumps({n: getattr(gap, n) for n in gap.__struct_fields__})) for gap in book.take_changed()
    ]
    values[0] |= {"state": "unfillable"}
    restored = GapBook()
    restored.restore(values, "spot")
    assert [(gap.first_id, gap.last_id) for gap in restored.take_new()] == [(6, 9)]
    assert restored.unrecorded_holes(ledger) == []
    empty = GapBook()
    empty.restore([], "spot")
    assert empty.unrecorded_holes(ledger) == [(2, 4), (6, 9)]
