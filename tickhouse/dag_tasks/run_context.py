"""Which days a DAG run builds or audits, by its parameters and its dates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from common.days import ONE_DAY, Days
from common.errors import ConfigurationError
from tickhouse.dag_tasks.params import bounded


@dataclass(frozen=True, slots=True)
class RunDays:
    """The days of a run.

    Attributes:
        days: The days.
        is_chosen: A person chose them, by parameters or by the logical date of a manual run. Such a
            run fails when the lake has no trade of these days. A night is skipped.
        why: Where the days come from, as a part of a sentence.
    """

    days: Days
    is_chosen: bool
    why: str


def days_of_run(params: Mapping[str, Any], dag_run: Any) -> RunDays:
    """Return the days that a run builds.

    The first of these that a run has decides:

    1. parameter `date`, or `from` to `to`;
    2. the UTC day of its logical date, which is the day of its data interval in a scheduled run and
       in one of Airflow's own backfills;
    3. without a logical date, or with one on the day on which the run was triggered, the day
       before: a day that is not over is built only when a parameter names it. Airflow's trigger
       form fills in the present time, so that date is no choice.

    Args:
        params: Parameters of the run.
        dag_run: The run: `run_type`, `run_after` and `logical_date`.

    Raises:
        ConfigurationError: The parameters contradict each other or are out of bounds, or the
            logical date is in the future.
    """
    today = today_of(dag_run)
    if any(params.get(name) for name in ("date", "from", "to")):
        return RunDays(_days_of_params(params, today), True, "by its parameters")
    if dag_run.logical_date is None:
        return RunDays(Days(today - ONE_DAY, today - ONE_DAY), False, "the day before the run")
    day = dag_run.logical_date.astimezone(UTC).date()
    if dag_run.run_type in ("scheduled", "backfill"):
        return RunDays(Days(day, day), False, "by its data interval")
    if day == today:
        return RunDays(Days(day - ONE_DAY, day - ONE_DAY), False, f"the day before, because {day} is not over")
    return RunDays(bounded(day, day, today), True, "by its logical date")


def _days_of_params(params: Mapping[str, Any], today: date) -> Days:
    day, first, last = (params.get(name) for name in ("date", "from", "to"))
    if day and not first and not last:
        first = last = day
    if not first or not last or (day and not day == first == last):
        raise ConfigurationError(
            f"Expected `date`, or `from` and `to`; was date={day}, from={first}, to={last}.",
            safe="Nothing was started.",
            next_command="trigger the DAG again with one of both",
        )
    return bounded(parse_day(first), parse_day(last), today)


def parse_day(text: str) -> date:
    """Return the day in a parameter.

    Raises:
        ConfigurationError: There is no such day.
    """
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ConfigurationError(f"Expected a day like 2024-08-09, was {text!r}.") from error


def today_of(dag_run: Any) -> date:
    """Return the UTC day on which a run was due."""
    run_after: datetime = dag_run.run_after
    return run_after.astimezone(UTC).date()


def days_in(result: Mapping[str, str]) -> Days:
    """Return the days in the result of an earlier task."""
    return Days(date.fromisoformat(result["first"]), date.fromisoformat(result["last"]))
