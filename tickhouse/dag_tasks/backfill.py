"""The tasks of DAG `backfill`.

The trades are fetched in the process of the task. When Airflow stops it (SIGTERM), the batch in
progress is finished and saved, and the task fails with an error that allows a retry. The retry
continues where the last try ended, because trades that Kafka has are not sent again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import structlog

from common.clients.airflow import AirflowApi
from common.days import ONE_DAY, midnight
from common.errors import TransientError
from common.settings import Settings, load_settings
from producer.signals import stop_flag
from tickhouse.ingest import backfill as rest
from tickhouse.ingest import replay as files
from tickhouse.ingest.visibility import ExpectedRecords, wait_for_stores

log = structlog.get_logger("tickhouse.dag_tasks.backfill")

# Least number of seconds between two lines of progress in the task's log.
PROGRESS_EVERY_S = 10.0


def check() -> None:
    """Fail before hours of fetching if a DAG that is needed afterwards is paused.

    Raises:
        DagPaused: A DAG is paused; the message names it.
    """
    with AirflowApi(load_settings()) as airflow:
        airflow.require_unpaused("lake_commit", "nightly_batch")


def fetch(params: Mapping[str, Any]) -> dict[str, Any]:
    """Bring the trades into Kafka, wait until each store has them, and return what was done.

    Raises:
        TerminalError: A parameter or the file is wrong.
        TransientError: Kafka, a store or the exchange does not answer, or the task was stopped.
    """
    settings = load_settings()
    document = _replay(settings, params) if params.get("file") else _fetch_by_rest(settings, params)
    only_json_types: dict[str, Any] = json.loads(json.dumps(document, default=str))
    return only_json_types


def trade_range(params: Mapping[str, Any]) -> rest.TradeRange:
    """Return the trades of the days `from` to `to`, both included (pure)."""
    first, last = (date.fromisoformat(params[name]) for name in ("from", "to"))
    return rest.TradeRange(
        params["market"], params["symbol"], from_us=_midnight_us(first), to_us=_midnight_us(last + ONE_DAY)
    )


def _midnight_us(day: date) -> int:
    return int(midnight(day).timestamp()) * 1_000_000


def _fetch_by_rest(settings: Settings, params: Mapping[str, Any]) -> dict[str, Any]:
    progress = ProgressLog()
    result = rest.backfill(
        settings, trade_range(params), progress=lambda done, total: progress.log(trades=done, of=total)
    )
    if not result.fetched.is_whole:
        raise stopped("fetch")
    return result.document(_wait(settings, [result.expected()]))


def _replay(settings: Settings, params: Mapping[str, Any]) -> dict[str, Any]:
    progress, options = ProgressLog(), files.ReplayOptions(params["market"], params["symbol"])
    result = files.replay(
        settings,
        [Path(params["file"])],
        options,
        progress=lambda source, done, sent: progress.log(bytes_read=done, records_sent=sent),
    )
    for file in result.files:
        # A damaged file is not whole either, but it has a dead letter with reason `truncated`.
        if not file.is_whole and "truncated" not in file.rejects:
            raise stopped("replay")
    document = result.document(_wait(settings, result.expected()))
    result.require_events()
    return document


def _wait(settings: Settings, expected: Sequence[ExpectedRecords]) -> dict[str, float]:
    """Wait until the records are in each store; return the seconds that each took."""
    progress = ProgressLog()
    with stop_flag() as is_stopped:

        def log_progress(lagging: Mapping[str, str]) -> None:
            if is_stopped():
                raise stopped("wait for the stores")
            progress.log(lagging=dict(lagging))

        return wait_for_stores(settings, expected, progress=log_progress)


def stopped(what: str) -> TransientError:
    """Return the error of a task that Airflow stopped."""
    return TransientError(f"The {what} was stopped before its end.", safe="The next try continues there.")


class ProgressLog:
    """Writes progress to the task's log, at most once per `PROGRESS_EVERY_S`."""

    def __init__(self) -> None:
        self._logged_at = float("-inf")

    def log(self, **values: object) -> None:
        """Log the values, unless others were logged within the last `PROGRESS_EVERY_S`."""
        now = time.monotonic()
        if now - self._logged_at >= PROGRESS_EVERY_S:
            self._logged_at = now
            log.info("progress", **values)
