"""A set of integers kept as disjoint, merged, inclusive ranges."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from typing import Final

# Up to this many ranges are inserted or removed one by one; more are merged in one pass.
MAX_SINGLE_CHANGES: Final = 64

# Inclusive ranges (first, last), sorted.
Ranges = list[tuple[int, int]]


class IntervalSet:
    """Sorted ranges [low, high] that never touch.

    Consecutive ids are stored as one pair, no matter how many there are.
    """

    __slots__ = ("_hi", "_lo")

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._lo: list[int] = []
        self._hi: list[int] = []
        self.update(ranges)

    def add_range(self, low: int, high: int) -> None:
        """Add every integer of [low, high] (both included); an empty range adds nothing."""
        if low > high:
            return
        # Every range that overlaps or touches [low, high] merges with it.
        start = bisect_right(self._hi, low - 2)  # first range with hi >= low - 1
        end = bisect_right(self._lo, high + 1)  # first range with lo > high + 1
        if start < end:
            low, high = min(low, self._lo[start]), max(high, self._hi[end - 1])
        self._lo[start:end] = [low]
        self._hi[start:end] = [high]

    def add(self, number: int) -> None:
        """Add one integer."""
        last = self._hi[-1] if self._hi else number - 2
        if number == last + 1:
            self._hi[-1] = number
        elif number > last:  # after all others: the usual case when ids skip
            self._lo.append(number)
            self._hi.append(number)
        else:
            self.add_range(number, number)

    def update(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Add every range; many ranges are merged in a single pass."""
        added = [(low, high) for low, high in ranges if low <= high]
        if len(added) <= MAX_SINGLE_CHANGES:
            for low, high in added:
                self.add_range(low, high)
            return
        in_order = sorted([*self, *added])  # linear when the added ranges are sorted
        self._lo, self._hi = [], []
        for low, high in in_order:
            if self._hi and low <= self._hi[-1] + 1:
                self._hi[-1] = max(self._hi[-1], high)
            else:
                self._lo.append(low)
                self._hi.append(high)

    def remove(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Remove every integer of the ranges."""
        removed = IntervalSet()
        removed.update(ranges)
        if len(removed) <= MAX_SINGLE_CHANGES:
            for low, high in removed:
                self._remove_range(low, high)
            return
        kept = [part for low, high in self for part in removed.missing(low, high)]
        self._lo, self._hi = [low for low, _ in kept], [high for _, high in kept]

    def _remove_range(self, low: int, high: int) -> None:
        start, end = bisect_left(self._hi, low), bisect_right(self._lo, high)
        if start >= end:
            return
        parts = [(self._lo[start], low - 1), (high + 1, self._hi[end - 1])]
        kept = [part for part in parts if part[0] <= part[1]]
        self._lo[start:end] = [first for first, _ in kept]
        self._hi[start:end] = [last for _, last in kept]

    def within(self, low: int, high: int) -> list[tuple[int, int]]:
        """Return the ranges of [low, high] that are in the set."""
        start, end = bisect_left(self._hi, low), bisect_right(self._lo, high)
        return [(max(low, self._lo[at]), min(high, self._hi[at])) for at in range(start, end)]

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self._lo, number) - 1
        return at >= 0 and number <= self._hi[at]

    def missing(self, low: int, high: int) -> list[tuple[int, int]]:
        """Return the ranges of [low, high] that are not in the set."""
        return list(self.holes(low, high))

    def holes(self, low: int, high: int) -> Iterator[tuple[int, int]]:
        """Yield the ranges of [low, high] that are not in the set, lowest first."""
        for at in range(bisect_right(self._hi, low - 1), len(self._lo)):
            if self._lo[at] > high:
                break
            if low < self._lo[at]:
                yield low, self._lo[at] - 1
            low = self._hi[at] + 1
        if low <= high:
            yield low, high

    def gaps(self) -> list[tuple[int, int]]:
        """Return the ranges between the least and the greatest member that are not in the set."""
        return [(high + 1, low - 1) for high, low in zip(self._hi, self._lo[1:], strict=False)]

    def count(self) -> int:
        """Return how many integers are in the set."""
        return sum(self._hi) - sum(self._lo) + len(self._lo)

    def first_within(self, low: int, high: int) -> tuple[int, int] | None:
        """Return the lowest range of `within(low, high)`, None when there is none."""
        at = bisect_left(self._hi, low)
        if at == len(self._lo) or self._lo[at] > high:
            return None
        return max(low, self._lo[at]), min(high, self._hi[at])

    @property
    def first(self) -> int | None:
        """Return the least member, None when empty."""
        return self._lo[0] if self._lo else None

    @property
    def last(self) -> int | None:
        """Return the greatest member, None when empty."""
        return self._hi[-1] if self._hi else None

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(zip(self._lo, self._hi, strict=True))

    def __len__(self) -> int:
        return len(self._lo)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IntervalSet) and self._lo == other._lo and self._hi == other._hi

    __hash__ = None  # type: ignore[assignment]  # sets are mutable

    def __repr__(self) -> str:
        return f"IntervalSet({list(self)!r})"
