"""The tables that can be read, the folders of their days, and ranges of time. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from common.days import Days
from common.errors import ConfigurationError
from tickhouse.candles import parse_time

Moment = str | date | datetime
INTERVALS = ("1m", "5m", "1h", "1d")
_SMALLEST, _HOUR = timedelta(microseconds=1), timedelta(hours=1)
# Names in one message: enough to recognise the right one.
MOST_NAMES = 8


@dataclass(frozen=True, slots=True)
class LakeTable:
    """A table of silver or gold.

    Attributes:
        folder: Where its partitions are.
        time: The column that says when; partitions are by its UTC date.
        order: Columns by which rows are sorted.
        partition: `date`, or `month` for a table with a row per month.
    """

    folder: str
    time: str
    order: tuple[str, ...]
    partition: str = "date"

    def partition_of(self, day: date) -> str:
        """Return the value of the partition that has a day: `2024-08-08`, or `2024-08`."""
        return f"{day:%Y-%m}" if self.partition == "month" else day.isoformat()

    def day_of(self, value: str) -> date:
        """Return the first day of a partition."""
        return date.fromisoformat(f"{value}-01" if self.partition == "month" else value)

    def path_of(self, value: str) -> str:
        """Return the folder of a partition."""
        return f"{self.folder}/{self.partition}={value}"


def _gold(name: str, partition: str = "date") -> LakeTable:
    return LakeTable(f"gold/{name}", "open_time", ("open_time", "market", "symbol"), partition)


TABLES = {
    "trades": LakeTable("silver/trades", "trade_time", ("trade_time", "market", "symbol", "stream", "trade_id")),
    **{f"candles_{interval}": _gold(f"candles_{interval}") for interval in INTERVALS},
    **{name: _gold(name) for name in ("top_movers", "volatility", "vwap")},
    "monthly": _gold("monthly", "month"),
}


@dataclass(frozen=True, slots=True)
class TimeSpan:
    """The UTC times in [start, end)."""

    start: datetime
    end: datetime

    @property
    def days(self) -> Days:
        """Return the days that contain one of the times."""
        return Days(self.start.date(), (self.end - _SMALLEST).date())

    def may_be_in(self, path: str) -> bool:
        """Return whether a file may hold one of the times, by the hour in its path, if any."""
        _, has_hour, rest = path.partition("/hour=")
        if not has_hour:
            return True
        day = path.partition("date=")[2][:10]
        hour = datetime.fromisoformat(f"{day}T{rest[:2]}:00:00+00:00")
        return hour < self.end and hour + _HOUR > self.start


def time_span(start: Moment, end: Moment) -> TimeSpan:
    """Return a range of time; a date is its midnight, and a time without a zone is UTC.

    Raises:
        ConfigurationError: One is not a time, or `start` is not before `end`.
    """
    first, last = _utc(start), _utc(end)
    if first >= last:
        raise ConfigurationError(f"Expected a start before the end, was {first.isoformat()} to {last.isoformat()}.")
    return TimeSpan(first, last)


def _utc(moment: Moment) -> datetime:
    if isinstance(moment, str):
        return parse_time(moment)
    if not isinstance(moment, datetime):
        return datetime(moment.year, moment.month, moment.day, tzinfo=UTC)
    try:
        aware = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        # A timestamp of pandas is a datetime with nanoseconds; this leaves them out.
        return datetime.combine(aware.date(), aware.timetz())
    except (ValueError, OverflowError) as error:
        raise ConfigurationError(f"Expected a time, was {moment!r}.") from error


def candle_table(interval: str) -> LakeTable:
    """Return the table of candles of an interval.

    Raises:
        ConfigurationError: The lake has no such interval.
    """
    if interval not in INTERVALS:
        raise ConfigurationError(f"Expected an interval of {', '.join(INTERVALS)}, was {interval!r}.")
    return TABLES[f"candles_{interval}"]


def named_table(name: str) -> LakeTable:
    """Return a table by its name, with or without its layer.

    Raises:
        ConfigurationError: There is no such table to read.
    """
    by_name = TABLES | {known.folder: known for known in TABLES.values()}
    if name not in by_name:
        raise ConfigurationError(f"Expected a table of {', '.join(TABLES)}, was {name!r}.")
    return by_name[name]


def runs_of(missing: Sequence[str], wanted: Sequence[str]) -> str:
    """Return partitions as text, those in a row as `first..last`.

    Args:
        missing: Partitions, in the order of `wanted`.
        wanted: All partitions of a range.
    """
    absent, runs = set(missing), list[list[str]]()
    previous = False
    for value in wanted:
        if value in absent and previous:
            runs[-1].append(value)
        elif value in absent:
            runs.append([value])
        previous = value in absent
    texts = [run[0] if len(run) == 1 else f"{run[0]}..{run[-1]}" for run in runs]
    more = f" and {len(texts) - MOST_NAMES} more ranges" if len(texts) > MOST_NAMES else ""
    return ", ".join(texts[:MOST_NAMES]) + more
