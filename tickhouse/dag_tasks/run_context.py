"""Which days a DAG run builds or audits, by its parameters and its dates."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

from common.days import ONE_DAY, Days
from common.errors import ConfigurationError


def asked_day(dag_run: Any) -> date | None:
    """Return the day that a person chose as the logical date of a manual run, None without one.

    A manual run without a chosen date has the current time as its logical date, and a scheduled run
    has the time of its schedule.
    """
    if dag_run.run_type != "manual" or dag_run.logical_date is None:
        return None
    day: date = dag_run.logical_date.astimezone(UTC).date()
    return day if day < dag_run.run_after.astimezone(UTC).date() else None


def days_of(params: Mapping[str, Any], run_after: datetime, asked: date | None = None) -> Days:
    """Return the days that a run builds.

    These are parameter `date`, or `from` to `to`, or the day `asked`, or the UTC day before the
    run.

    Args:
        params: Parameters of the run.
        run_after: When the run was due.
        asked: `asked_day` of the run.

    Raises:
        ConfigurationError: `from` or `to` is missing, `to` is before `from`, or `date` is given
            together with another day.
    """
    day, first, last = (params.get(name) for name in ("date", "from", "to"))
    if not any((day, first, last)):
        yesterday = run_after.astimezone(UTC).date() - ONE_DAY
        return Days(asked or yesterday, asked or yesterday)
    if day and not first and not last:
        first = last = day
    if not first or not last or (day and day != first) or first > last:
        raise ConfigurationError(
            f"Expected `date`, or `from` and `to` in this order; was date={day}, from={first}, to={last}."
        )
    return Days(date.fromisoformat(first), date.fromisoformat(last))


def days_in(result: Mapping[str, str]) -> Days:
    """Return the days in the result of an earlier task."""
    return Days(date.fromisoformat(result["first"]), date.fromisoformat(result["last"]))
