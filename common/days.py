"""Ranges of event days."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

ONE_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Days:
    """The UTC days from `first` to `last`, both included."""

    first: date
    last: date

    def __iter__(self) -> Iterator[date]:
        return (self.first + number * ONE_DAY for number in range(len(self)))

    def __len__(self) -> int:
        return max(0, (self.last - self.first).days + 1)

    def __contains__(self, day: object) -> bool:
        return isinstance(day, date) and self.first <= day <= self.last

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}..{self.last}"

    def passes(self, length: int) -> Iterator[Days]:
        """Yield the days in pieces of at most `length` days."""
        for start in range(0, len(self), length):
            first = self.first + start * ONE_DAY
            yield Days(first, min(self.last, first + (length - 1) * ONE_DAY))

    def months(self) -> list[date]:
        """Return the first day of every month that contains one of the days."""
        return sorted({day.replace(day=1) for day in self})


def midnight(day: date) -> datetime:
    """Return the start of a UTC day."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def day_of(path: str) -> date | None:
    """Return the day in a lake path with a partition `date=YYYY-MM-DD`, None for other paths."""
    _, found, rest = path.partition("date=")
    return date.fromisoformat(rest[:10]) if found else None
