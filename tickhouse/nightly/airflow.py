"""What the DAGs need of Airflow beside the steps: days of a run's parameters, and failures that no retry mends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import Any

from tickhouse.days import ONE_DAY, Days
from tickhouse.errors import ConfigurationError, TerminalError


def days_of(params: Mapping[str, Any], run_after: datetime) -> Days:
    """Return the days of a run: `date`, or `from` to `to`, or the UTC day before the run.

    Raises:
        ConfigurationError: Half a range, a range beside a day, or one that ends before it begins.
    """
    day, first, last = (params.get(name) for name in ("date", "from", "to"))
    if not any((day, first, last)):
        yesterday = run_after.astimezone(UTC).date() - ONE_DAY
        return Days(yesterday, yesterday)
    if day and not first and not last:
        first = last = day
    if not first or not last or (day and day != first) or first > last:
        raise ConfigurationError(f"Expected date, or from and a to not before it, was {day}, {first}, {last}.")
    return Days(date.fromisoformat(first), date.fromisoformat(last))


def month_of(params: Mapping[str, Any], run_after: datetime) -> str:
    """Return the month of a run, `YYYY-MM`: `month`, or the one before the run."""
    before = run_after.astimezone(UTC).date().replace(day=1) - ONE_DAY
    return str(params.get("month") or f"{before:%Y-%m}")


def days_in(made: Mapping[str, str]) -> Days:
    """Return the days that task `prepare` handed on."""
    return Days(date.fromisoformat(made["first"]), date.fromisoformat(made["last"]))


@contextmanager
def failing_for_good() -> Iterator[None]:
    """Fail a task without retries when the error says that retrying cannot help."""
    from airflow.sdk.exceptions import AirflowFailException

    try:
        yield
    except TerminalError as error:
        raise AirflowFailException(str(error)) from error
