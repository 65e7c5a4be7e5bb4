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
from common.clients.lakefs import MAIN
from common.days import ONE_DAY, midnight
from common.errors import ConfigurationError, TransientError
from common.settings import Settings, load_settings
from common.symbols import check_given_symbol
from producer.events import check_market
from producer.signals import stop_flag
from tickhouse.dag_tasks.links import LakeCommitLink, commit_url
from tickhouse.dag_tasks.params import bounded
from tickhouse.dag_tasks.run_context import parse_day, today_of
from tickhouse.dag_tasks.run_report import RunReport, short
from tickhouse.ingest import backfill as rest
from tickhouse.ingest import replay as files
from tickhouse.ingest.visibility import ExpectedRecords, wait_for_stores
from tickhouse.lake.branches import head

log = structlog.get_logger("tickhouse.dag_tasks.backfill")

# Least number of seconds between two lines of progress in the task's log.
PROGRESS_EVERY_S = 10.0


def check(params: Mapping[str, Any], dag_run: Any) -> None:
    """Fail before hours of fetching if a parameter is wrong or a needed DAG is paused.

    Raises:
        ConfigurationError: The symbol, the days or the file are not allowed.
        DagPaused: A DAG is paused; the message names it.
    """
    settings = load_settings()
    check_market(params["market"])
    check_given_symbol(params["symbol"])
    days = bounded(parse_day(params["from"]), parse_day(params["to"]), today_of(dag_run))
    file = allowed_file(settings, params["file"]) if params.get("file") else None
    with AirflowApi(settings) as airflow:
        airflow.require_unpaused("lake_commit", "nightly_batch")
    source = f"from {file}" if file else "by REST"
    RunReport.current(settings).say(f"This run brings {params['market']} {params['symbol']} of {days} {source}.")


def allowed_file(settings: Settings, text: str) -> Path:
    """Return the archive file of a run.

    A run is started by everybody who may trigger a DAG, and reads files with the rights of the
    scheduler. So only files below `<home>/archives` and the folders of ARCHIVE_FOLDERS are read.

    Raises:
        ConfigurationError: The file is not there, or not below one of these folders.
    """
    folders = [settings.home / "archives", *map(Path, filter(None, settings.archive_folders.split(":")))]
    file = Path(text).resolve()
    if not any(file.is_relative_to(folder.resolve()) for folder in folders):
        raise ConfigurationError(
            f"DAG backfill reads files below {' and '.join(map(str, folders))}, was {text}.",
            safe="Nothing was read.",
            next_command=f"copy the file to {folders[0]}, or set ARCHIVE_FOLDERS and run tickhouse up again",
        )
    if not file.is_file():
        raise ConfigurationError(f"There is no file {file}.", safe="Nothing was read.")
    return file


def fetch(params: Mapping[str, Any]) -> dict[str, Any]:
    """Bring the trades into Kafka, wait until each store has them, and return what was done.

    Raises:
        TerminalError: A parameter or the file is wrong.
        TransientError: Kafka, a store or the exchange does not answer, or the task was stopped.
    """
    settings = load_settings()
    document = _replay(settings, params) if params.get("file") else _fetch_by_rest(settings, params)
    only_json_types: dict[str, Any] = json.loads(json.dumps(document, default=str))
    RunReport.current(settings).note(f"{fetched_text(params, only_json_types)} Next: lake_commit, nightly_batch.")
    return only_json_types


def conclude(params: Mapping[str, Any], fetched: Mapping[str, Any]) -> None:
    """Say in the run's note what was fetched, and at which commit `main` is."""
    settings = load_settings()
    commit_id, report = head(settings, MAIN), RunReport.current(settings)
    report.link(LakeCommitLink.name, commit_url(settings, commit_id))
    report.note(f"{fetched_text(params, fetched)} nightly_batch published them; main is at {short(commit_id)}.")


def fetched_text(params: Mapping[str, Any], fetched: Mapping[str, Any]) -> str:
    """Return in one sentence which trades a run brought (pure)."""
    files = fetched.get("files", [fetched])
    sent = sum(one["sent"] for one in files)
    known = sum(one.get("known", one.get("sent_earlier", 0)) for one in files)
    what = f"{params['market']} {params['symbol']}, {params['from']}..{params['to']}"
    return f"Brought {sent:,} records of {what} into Kafka, which had {known:,} already."


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
