"""Which rows of a batch are new, with one pass over the batch where that is enough."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spark.streaming.new_ids import FreshPartials
from spark.streaming.partial_sums import Ranges, SymbolStream, partials, runs
from tests.unit.spark.streaming.test_partial_sums import BTC, facts
from tests.unit.spark.trades import MINUTE_US, Trade

PER_MINUTE = 7


class Store:
    """Holds ids, and counts the passes over batches and the ids of the last query."""

    def __init__(self) -> None:
        self.ids: set[int] = set()
        self.passes = self.asked = 0

    def sums(self, batch: list[Trade], seen: Mapping[SymbolStream, Ranges]) -> list[dict[str, Any]]:
        self.passes += 1
        return partials(map(facts, batch), seen)

    def held(self, rows: Iterable[Mapping[str, Any]]) -> dict[SymbolStream, Ranges]:
        asked = [(run["lo"], run["hi"]) for row in rows for run in row["ids"]]
        self.asked = sum(hi - lo + 1 for lo, hi in asked)
        there = [n for n in self.ids if any(lo <= n <= hi for lo, hi in asked)]
        return {BTC: [(run["lo"], run["hi"]) for run in runs(there)]} if there else {}

    def apply(self, rows: list[dict[str, Any]]) -> None:
        new = [n for row in rows if row["is_fresh"] for run in row["ids"] for n in range(run["lo"], run["hi"] + 1)]
        assert not self.ids.intersection(new)
        assert len(new) == len(set(new))
        self.ids.update(new)


def trades(ids: Iterable[int]) -> list[Trade]:
    return [Trade(n, time_us=n // PER_MINUTE * MINUTE_US) for n in ids]


def played(batches: list[list[int]]) -> Store:
    store = Store()
    fresh: FreshPartials[list[Trade]] = FreshPartials(store.sums, store.held)
    for batch in batches:
        store.apply(fresh(trades(batch)))
    return store


@settings(deadline=None, max_examples=50)  # no deadline: the machine may be busy
@given(st.lists(st.lists(st.integers(0, 100), min_size=1, max_size=40), max_size=8))
def test_each_id_is_applied_once_however_batches_overlap(batches: list[list[int]]) -> None:
    assert played(batches).ids == {n for batch in batches for n in batch}


def test_new_batches_and_repeated_ones_take_one_pass() -> None:
    new = [[*range(at, at + 50)] for at in range(0, 500, 50)]
    assert played(new).passes == 10
    assert played([*new, *new]).passes == 20


def test_a_dense_file_over_a_sparse_one_takes_a_second_pass_once() -> None:
    sparse = [[*range(at, at + 50, 2)] for at in range(0, 1000, 50)]
    dense = [[*range(at, at + 50)] for at in range(0, 1000, 50)]
    assert played([*sparse, *dense]).passes == 20 + 20 + 1


def test_the_store_is_asked_only_for_ids_of_the_batch() -> None:
    store = played([[*range(at, at + 50, 2)] for at in range(0, 5_000, 50)])
    store.sums, passes = (lambda batch, seen: partials(map(facts, batch), seen)), store.passes  # type: ignore[method-assign]
    fresh: FreshPartials[list[Trade]] = FreshPartials(store.sums, store.held)
    fresh(trades([1, 2, 3]))
    assert (passes, store.asked) == (100, 6)  # the last query is in advance: twice the span of three ids


def test_the_store_is_asked_again_after_another_driver_was_faster() -> None:
    store = Store()
    fresh: FreshPartials[list[Trade]] = FreshPartials(store.sums, store.held)
    for batch in ([1, 3, 5], [1, 2, 3, 4, 5]):
        store.apply(fresh(trades(batch)))
    rows = fresh(trades([6, 7, 8]))  # the store was asked in advance and held none of them
    store.ids.update((7, 8))  # the other driver
    with pytest.raises(AssertionError):  # as `CandleStore.apply` raises ConcurrentApply
        store.apply(rows)
    store.apply(fresh(trades([6, 7, 8])))
    assert store.ids == {*range(1, 9)}


def test_ids_that_were_asked_for_in_advance_are_not_asked_for_again() -> None:
    store = Store()
    queries: list[list[tuple[int, int]]] = []

    def held(rows: Iterable[Mapping[str, Any]]) -> dict[SymbolStream, Ranges]:
        queries.append([(row["ids"][0]["lo"], row["ids"][-1]["hi"]) for row in rows])
        return store.held([*rows])

    store.ids.update(range(0, 400, 2))
    fresh: FreshPartials[list[Trade]] = FreshPartials(store.sums, held)
    for at in range(0, 50, 10):
        store.apply(fresh(trades(range(at, at + 10))))
    assert [spans[-1] for spans in queries[-2:]] == [(30, 49), (50, 69)]
    assert len(queries[1:]) == 3
