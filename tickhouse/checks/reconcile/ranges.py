"""The checker's own sets of ids: lists of sorted, disjoint, inclusive ranges."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

Range = tuple[int, int]


def merged(ranges: Iterable[Range]) -> list[Range]:
    """Return the ranges sorted and merged; touching ranges become one."""
    result: list[Range] = []
    for low, high in sorted(ranges):
        if result and low <= result[-1][1] + 1:
            result[-1] = (result[-1][0], max(high, result[-1][1]))
        else:
            result.append((low, high))
    return result


def of_ids(ids: Iterable[int]) -> list[Range]:
    """Return the ranges that hold exactly these ids; no id may be negative."""
    result: list[Range] = []
    low = high = -2
    for number in sorted(set(ids)):
        if number != high + 1:
            if low <= high and high >= 0:
                result.append((low, high))
            low = number
        high = number
    return [*result, (low, high)] if high >= 0 else result


def contains(ranges: list[Range], number: int) -> bool:
    """Return whether merged `ranges` hold `number`."""
    at = bisect_right(ranges, (number, 1 << 63)) - 1
    return at >= 0 and ranges[at][0] <= number <= ranges[at][1]


def subtract(ranges: list[Range], other: list[Range]) -> list[Range]:
    """Return the part of merged `ranges` that merged `other` does not hold."""
    result: list[Range] = []
    for whole_low, high in ranges:
        low = whole_low
        for at in range(max(0, bisect_right(other, (low, 1 << 63)) - 1), len(other)):  # a slice would copy the rest
            other_low, other_high = other[at]
            if other_low > high:
                break
            if other_high < low:
                continue
            if other_low > low:
                result.append((low, other_low - 1))
            low = other_high + 1
        if low <= high:
            result.append((low, high))
    return result


def size(ranges: Iterable[Range]) -> int:
    """Return how many ids the ranges hold."""
    return sum(high - low + 1 for low, high in ranges)
