"""When the disk will be full, from the history of the stores' sizes (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tickhouse.status.disk_history import DAY_S, DiskSample

# Retention removes once per day and Kafka whole segments, so that less than a day says nothing.
LEAST_S = DAY_S
# Growth of the last two weeks: a piece that is removed as a whole (a month's partition) is more
# than that, but what changed a month ago does not matter any more.
WINDOW_S = 14 * DAY_S
# A date further away than this is not a warning but a guess.
FAR_DAYS = 3650.0


@dataclass(frozen=True)
class DiskForecast:
    """How fast the stores grow.

    Args:
        history_h: Hours from the first to the last sample that were used.
        is_known: Whether the history is long enough.
        in_words: The forecast, or what it still lacks.
        days_until_full: None when unknown, or when the free space does not shrink.
        free_bytes_per_day: Change of the free space, whoever uses it; negative while it shrinks.
        growth_bytes_per_day: Growth by store.
    """

    history_h: float
    is_known: bool
    in_words: str
    days_until_full: float | None = None
    free_bytes_per_day: int | None = None
    growth_bytes_per_day: dict[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the values for JSON."""
        return asdict(self)


def forecast(samples: Sequence[DiskSample]) -> DiskForecast:
    """Return the forecast from a history, oldest first."""
    recent = [sample for sample in samples if sample.at_s >= samples[-1].at_s - WINDOW_S]
    span_s = recent[-1].at_s - recent[0].at_s if recent else 0
    history_h = round(span_s / 3600, 1)
    if span_s < LEAST_S:
        words = f"not enough history yet: {history_h:g} of {LEAST_S // 3600} hours"
        return DiskForecast(history_h, is_known=False, in_words=words)
    free = round(_per_day([(sample.at_s, sample.free) for sample in recent]))
    days = recent[-1].free / -free if free < 0 else None
    days = round(days, 1) if days is not None and days <= FAR_DAYS else None
    return DiskForecast(history_h, True, _words(days, history_h), days, free, _growth(recent))


def _words(days: float | None, history_h: float) -> str:
    seen = f"by the last {history_h / 24:.1f} days"
    return f"does not fill, {seen}" if days is None else f"full in {days:,.0f} days, {seen}"


def _growth(samples: Sequence[DiskSample]) -> dict[str, int]:
    """Return bytes per day of each store of the newest sample; a younger one began with nothing."""
    names = samples[-1].stores
    rates = {name: [(sample.at_s, sample.stores.get(name, 0)) for sample in samples] for name in names}
    return {name: round(_per_day(points)) for name, points in rates.items()}


def _per_day(points: Sequence[tuple[int, int]]) -> float:
    """Return the slope of the line with the least squared distance to all points, per day."""
    mean_s = sum(at_s for at_s, _ in points) / len(points)
    mean = sum(size for _, size in points) / len(points)
    spread = sum((at_s - mean_s) ** 2 for at_s, _ in points)
    return DAY_S * sum((at_s - mean_s) * (size - mean) for at_s, size in points) / spread
