"""Separate the new ids of a batch from those that a store holds already.

The ids of a stream may form a million ranges, too many to send them to each task. So a batch is
summed first, and then the store is queried only for the ids of the batch. There are three cases:

- The store holds none of a row's ids, or all of them. Then the row is marked as fresh or not.
  Nearly all batches are like this: they are new, or they were applied as a whole and come again.
- The store holds some ids of a row. Then the batch is summed a second time with these ids excluded.
- After such a batch the next one will probably overlap as well. So the store is queried in advance
  for the ids that follow, and the next batch is summed once, without another query.

When another driver applies ids after the query, the store refuses the batch, and the batch comes
again. Its ids then lie before those that were queried in advance, so the store is queried again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

from spark.streaming.partial_sums import Ranges, SymbolStream, mark_fresh, merge_ranges, stream_of

Batch = TypeVar("Batch")
Row = dict[str, Any]
# The most ids to query in advance: two of the largest batches.
MOST_AHEAD = 200_000


class FreshPartials(Generic[Batch]):
    """Sums a batch into rows of `partial_sums.PARTIAL_ARROW`, each marked as fresh or not.

    Args:
        sums: Returns the partial sums of a batch, given ids that the store holds.
        held: Queries the store for the ids of some rows that it holds.
    """

    def __init__(
        self,
        sums: Callable[[Batch, Mapping[SymbolStream, Ranges]], list[Row]],
        held: Callable[[Iterable[Mapping[str, Any]]], Mapping[SymbolStream, Ranges]],
    ) -> None:
        self._sums, self._held = sums, held
        self._ahead: Mapping[SymbolStream, Ranges] = {}
        self._asked: Mapping[SymbolStream, tuple[int, int]] = {}

    def __call__(self, batch: Batch) -> list[Row]:
        """Return the rows of a batch.

        A store only ever adds ids, so an id that it held when it was queried in advance is still
        there.
        """
        rows = self._sums(batch, self._ahead)
        unknown, known_rows = _split(rows, self._asked)
        held = self._held(unknown) if unknown else {}
        marked = mark_fresh(unknown, held)
        # None: the store holds some ids of a row, but not all.
        rows = self._sums(batch, _union(self._ahead, held)) if marked is None else marked + known_rows
        self._ask_ahead(_spans(rows))
        return rows

    def _ask_ahead(self, spans: Mapping[SymbolStream, tuple[int, int]]) -> None:
        """Query in advance the ids that follow these spans, twice as many as the spans hold.

        A stream for which enough following ids are known already is not queried.
        """
        asked: dict[SymbolStream, tuple[int, int]] = {}
        new: list[Row] = []
        for stream, (first, last) in spans.items():
            size = min(last - first + 1, MOST_AHEAD // 2)
            start, until = self._asked.get(stream, (0, -1))
            if until >= last + size:
                asked[stream] = max(start, last + 1), until  # ids before that were applied meanwhile
            else:
                asked[stream] = last + 1, last + 2 * size
                new.append({**stream._asdict(), "ids": [{"lo": last + 1, "hi": last + 2 * size}]})
        held = self._held(new) if new else {}
        again = {stream_of(row) for row in new}
        self._ahead = {key: held.get(key, []) if key in again else self._ahead.get(key, []) for key in asked}
        self._asked = asked


def _split(rows: Iterable[Row], asked: Mapping[SymbolStream, tuple[int, int]]) -> tuple[list[Row], list[Row]]:
    """Return the rows for which the store must be queried, and the rows whose state is known."""
    unknown: list[Row] = []
    known: list[Row] = []
    for row in rows:
        first, last = asked.get(stream_of(row), (0, -1))
        is_known = not row["is_fresh"] or (first <= row["ids"][0]["lo"] and row["ids"][-1]["hi"] <= last)
        (known if is_known else unknown).append(row)
    return unknown, known


def _union(left: Mapping[SymbolStream, Ranges], right: Mapping[SymbolStream, Ranges]) -> dict[SymbolStream, Ranges]:
    return {key: list(merge_ranges([*left.get(key, ()), *right.get(key, ())])) for key in {*left, *right}}


def _spans(rows: Iterable[Row]) -> dict[SymbolStream, tuple[int, int]]:
    """Return the first and last id of each stream if the store held some of its ids already."""
    spans: dict[SymbolStream, tuple[int, int, bool]] = {}
    for row in rows:
        key = stream_of(row)
        low, high = row["ids"][0]["lo"], row["ids"][-1]["hi"]
        first, last, is_known = spans.get(key, (low, high, False))
        spans[key] = min(first, low), max(last, high), is_known or not row["is_fresh"]
    return {key: (first, last) for key, (first, last, is_known) in spans.items() if is_known}
