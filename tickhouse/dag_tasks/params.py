"""The parameters that several DAGs have in their trigger form, and the bounds of days.

Airflow checks each value against its schema before a run starts, in the form and in the API. What
spans two values is checked by the first task of the run, which fails without a retry.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from airflow.sdk import Param

from common.days import ONE_DAY, Days
from common.errors import ConfigurationError

# A quarter. One run builds its days in one Spark driver, within its execution timeout of four
# hours.
MAX_DAYS = 92
# Binance opened on 2017-07-14.
EARLIEST = date(2017, 7, 1)
# Airflow's form shows parameters without a section first, and opened. Each other section is opened
# by a click, so it holds what most runs do not need.
LAKE_SECTION, RANGE_SECTION, FILE_SECTION = "Another state of the lake", "Several days", "Replay a file"
_DAY_PATTERN = r"^20\d{2}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$"
# lakeFS allows these characters in branches and tags; a commit is 64 hex digits.
REF_PATTERN = r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,254}$"
# Letters of any script are allowed. Task `check` explains what is wrong with a symbol.
SYMBOL_PATTERN = r"^[^-\sa-z:/][^\sa-z:/]{0,49}$"
MONTH_PATTERN = r"^20\d{2}-(0[1-9]|1[0-2])$"
# Pairs that most people ask for. Any other symbol can be typed.
SYMBOLS = ("BTCUSDT", "ETHUSDT", "BNBUSDT", "SOLUSDT", "XRPUSDT", "BTCUSD_PERP")
MARKETS = {"spot": "spot", "usdm": "USD-M futures", "coinm": "COIN-M futures"}


def day_param(title: str, description: str, *, is_required: bool = False, section: str = "") -> Param:
    """Return a parameter that is a UTC day; without a value it is None, unless it is required."""
    options: dict[str, Any] = {"format": "date", "pattern": _DAY_PATTERN, "title": title, "description": description}
    options |= {"section": section} if section else {}
    if is_required:
        return Param(type="string", **options)
    return Param(None, type=["null", "string"], **options)


def ref_param(description: str, *, section: str = "") -> Param:
    """Return a parameter that is a branch, tag or commit of the lake; `main` by default."""
    options: dict[str, Any] = {"section": section} if section else {}
    return Param(
        "main",
        type="string",
        pattern=REF_PATTERN,
        examples=["main", "ingest"],
        title="Branch, tag or commit",
        description=description,
        **options,
    )


def bounded(first: date, last: date, today: date) -> Days:
    """Return the days from `first` to `last` (pure).

    Raises:
        ConfigurationError: They are in the wrong order, more than `MAX_DAYS`, before the exchange
            opened, or in the future.
    """
    days = Days(first, last)
    if first > last:
        raise ConfigurationError(f"The first day {first} is after the last day {last}.", safe="Nothing was started.")
    if first < EARLIEST or last > today:
        raise ConfigurationError(
            f"Expected days from {EARLIEST} to {today}, was {days}.",
            safe="Nothing was started.",
            next_command="trigger the DAG again with days that have trades",
        )
    if len(days) > MAX_DAYS:
        raise ConfigurationError(
            f"Expected at most {MAX_DAYS} days per run, was {len(days)} ({days}).",
            safe="Nothing was started.",
            next_command=f"trigger the DAG once for {first}..{first + timedelta(days=MAX_DAYS) - ONE_DAY}, then go on",
        )
    return days
