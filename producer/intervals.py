"""A set of integers kept as disjoint, merged, inclusive ranges."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator


class IntervalSet:
    """Ranges [lo, hi], sorted, never touching: ids without holes cost one pair, however many they are."""

    __slots__ = ("_hi", "_lo")

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._lo: list[int] = []
        self._hi: list[int] = []
        for low, high in ranges:
            self.add_range(low, high)

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
        if self._hi and number == self._hi[-1] + 1:
            self._hi[-1] = number
        else:
            self.add_range(number, number)

    def update(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Add every range."""
        for low, high in ranges:
            self.add_range(low, high)

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self._lo, number) - 1
        return at >= 0 and number <= self._hi[at]

    def missing(self, low: int, high: int) -> list[tuple[int, int]]:
        """Return the ranges of [low, high] that are not in the set."""
        holes = []
        for at in range(bisect_right(self._hi, low - 1), len(self._lo)):
            if self._lo[at] > high:
                break
            if low < self._lo[at]:
                holes.append((low, self._lo[at] - 1))
            low = self._hi[at] + 1
        if low <= high:
            holes.append((low, high))
        return holes

    def gaps(self) -> list[tuple[int, int]]:
        """Return the ranges between the first and the last member that are not in the set."""
        return [(high + 1, low - 1) for high, low in zip(self._hi, self._lo[1:], strict=False)]

    def count(self) -> int:
        """Return how many integers are in the set."""
        return sum(self._hi) - sum(self._lo) + len(self._lo)

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

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        return f"IntervalSet({list(self)!r})"
