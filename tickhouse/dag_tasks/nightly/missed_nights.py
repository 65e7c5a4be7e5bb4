"""Find and build the nights that were missed: days that `ingest` has and `main` lacks.

A night is missed when the machine was off, the DAG was paused, or the run failed. Airflow does not
catch up on it (`catchup=False`, and a failed run stays failed). So each night also starts a run for
each missed day of the last month. Each day has a run of its own, so that one bad day does not block
another.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, timedelta

from lakefs.models import CommonPrefix

from common.clients.airflow import AirflowApi
from common.clients.lakefs import INGEST, MAIN, lake_errors, repository
from common.days import day_of
from common.settings import Settings
from tickhouse.dag_tasks import alerts

# How many event days before the night's own day are checked. Older days come from replays; DAG
# `backfill` publishes them.
WINDOW_DAYS = 31
DAG = "nightly_batch"
INGEST_TRADES, MAIN_TRADES = "bronze/trades/", "silver/trades/"


def missed_days(ingested: Collection[date], published: Collection[date], night: date) -> list[date]:
    """Return the earlier days that were ingested and not published, oldest first (pure).

    Args:
        ingested: Days with trades on `ingest`.
        published: Days on `main`.
        night: The day that this night builds in any case.
    """
    first = night - timedelta(days=WINDOW_DAYS)
    return sorted(day for day in set(ingested) - set(published) if first <= day < night)


def days_on(settings: Settings, ref: str, folder: str) -> set[date]:
    """Return the days of a table on a ref, read from the names of its folders.

    Raises:
        StoreUnavailable: The lake does not answer.
    """
    with lake_errors(settings):
        entries = repository(settings).ref(ref).objects(prefix=folder, delimiter="/")
        paths = [entry.path for entry in entries if isinstance(entry, CommonPrefix)]
    return {day for path in paths if (day := day_of(path)) is not None}


def build_missed(settings: Settings, night: date) -> list[str]:
    """Start a run for each missed day, and report them on `crypto.alerts`; return the run ids.

    A repeated call starts no second run, because the id of a run consists of its day and the night.

    Raises:
        StoreUnavailable: The lake, Airflow or Kafka does not answer.
    """
    ingested, published = days_on(settings, INGEST, INGEST_TRADES), days_on(settings, MAIN, MAIN_TRADES)
    days = missed_days(ingested, published, night)
    with AirflowApi(settings) as airflow:
        runs = [airflow.trigger(DAG, {"date": str(day)}, run_id_of(day, night)) for day in days]
    if days:
        message = {"kind": "nights_missed", "dag": DAG, "days": [str(day) for day in days], "runs": runs}
        alerts.send(settings, f"{DAG}:missed", message)
    return runs


def run_id_of(day: date, night: date) -> str:
    """Return the id of the run that builds a missed day."""
    return f"missed__{day}__found__{night}"
