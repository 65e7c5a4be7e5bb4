"""`tickhouse demo`, step by step; a person could do each step with a command.

0. This process switches to the demo's own home and ports (`home.py`), so that real trades are never
   touched.
1. An earlier demo is removed; its ids would be known duplicates.
2. The profile starts; Airflow then starts the streaming job.
3. The local exchange and the live producer start. The market plays, with faults, no faster than the
   slowest store can follow.
4. Every store is compared with the exchange's truth until everything has arrived.
5. Airflow commits the lake.
6. Airflow builds, audits and publishes the market's days; gold on `main` is compared as well.

No wait has a fixed deadline: it ends when its condition is met, or when there was no progress for
minutes.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import psutil

from common.clients.airflow import AirflowApi
from common.errors import ServiceNotReady
from common.settings import SIZE, Settings, home, is_light, load_settings
from stack.engine.graph import in_profile
from stack.engine.home_folder import HOME_MARK
from stack.engine.lifecycle import catalog, down, up
from stack.engine.progress import PhaseReporter
from stack.engine.service_status import status
from tickhouse.checks.reconcile.conservation_law import ReconcileReport
from tickhouse.checks.reconcile.run import Options, reconcile, summary
from tickhouse.checks.reconcile.store_result import StoreResult
from tickhouse.demo import market
from tickhouse.demo.alerts import RungAlerts, rung_alerts
from tickhouse.demo.home import EXCHANGE_CONFIG, is_demo, mark, refuse_foreign
from tickhouse.demo.playback import Pacer, exchange_state, is_recorded, lag_records, market_days
from tickhouse.demo.publication import commit_lake, publish_days
from tickhouse.demo.waiting import wait_while_moving

# A wait is given up after this many seconds without progress. The streaming job starts a JVM, a
# session and five query plans: at a load of 20 on two cores, it reports nothing for minutes.
STREAM_STALLED_S = 420.0
PLAY_STALLED_S = 240.0
STORES_STALLED_S = 240.0


class DemoScreen(Protocol):
    """Shows the progress of a demo."""

    def begin_step(self, name: str) -> None:
        """Show that a step begins."""

    def end_step(self, name: str, seconds: float) -> None:
        """Show that a step has ended, and its duration."""

    def services(self) -> AbstractContextManager[PhaseReporter]:
        """Yield a function that shows one message of the engine about a service."""

    def playback(self) -> AbstractContextManager[Callable[[int, int, str], None]]:
        """Yield a function that shows (trades played, trades of the market, text)."""

    def status(self, text: str) -> AbstractContextManager[Callable[[str], None]]:
        """Yield a function that replaces the line shown while the demo waits."""


@dataclass(frozen=True)
class DemoOptions:
    """Options of `tickhouse demo`.

    Attributes:
        profile: What to start besides exchange and producer: core, or a profile that includes it.
        market: What the exchange plays.
    """

    profile: str = "core"
    market: market.MarketOptions = field(default_factory=market.MarketOptions)


@dataclass
class DemoResult:
    """The outcome of a demo.

    Attributes:
        report: The reconcile report.
        commit: The newest commit of `ingest`: id, message, metadata.
        main: The commit of `main` that the nightly run published: id, message, metadata, tags.
        seconds: Duration of each step.
        memory_mb: Memory of all services, each shared page counted once (PSS).
        slowest_pace: The slowest pace that the market was played at, in seconds of event time per
            second.
        alerts: What rang.
    """

    report: ReconcileReport
    commit: dict[str, Any] = field(default_factory=dict)
    main: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    memory_mb: int = 0
    slowest_pace: float = 0.0
    alerts: RungAlerts = field(default_factory=RungAlerts)


class Demo:
    """One run of the demo in the home that `tickhouse.demo.home.enter` chose.

    Args:
        screen: Shows the progress.
        options: Profile and market.
    """

    def __init__(self, screen: DemoScreen, options: DemoOptions) -> None:
        self._screen = screen
        self._options = options
        self._seconds: dict[str, float] = {}
        self._slowest = float("inf")

    def run(self) -> DemoResult:
        """Run all steps.

        Raises:
            ConfigurationError: The options are invalid, or the home contains other data than a
                demo's.
            ServiceNotReady: A step did not end, and made no progress any more.
            ReconcileFailed: A DAG run failed.
        """
        market.check(self._options.market)
        with self._step("remove the earlier demo"):
            clear(home())
        prepare(home(), self._options.market)
        with self._step("start the servers"), self._screen.services() as report_service:
            up(services=services(self._options.profile), report=report_service)
        settings = load_settings()
        with self._step("wait for Airflow's streaming job"):
            await_stream(settings)
        with self._step("play the market"):
            with self._screen.services() as report_service:
                up(services=["exchange", "producer"], report=report_service)
            self._play(settings)
        memory_mb = memory()
        with self._step("compare every store"):
            report = self._compare(settings)
        with self._step("commit the lake by Airflow"):
            commit = commit_lake(settings)
        with self._step("build, audit and publish by Airflow"):
            main = publish_days(settings, market_days(settings.home))
        with self._step("compare gold"):
            report.checks |= self._compare_gold(settings)
        memory_mb, alerts = max(memory_mb, memory()), rung_alerts(settings)
        return DemoResult(report, commit, main, self._seconds, memory_mb, self._slowest, alerts)

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        self._screen.begin_step(name)
        started = time.monotonic()
        yield
        self._seconds[name] = round(time.monotonic() - started, 1)
        self._screen.end_step(name, self._seconds[name])

    def _play(self, settings: Settings) -> None:
        pacer = Pacer(settings)
        with self._screen.playback() as show:

            def poll() -> tuple[bool, object]:
                state = exchange_state(settings)
                played, total = state["trades_played"], state["trades_total"]
                lag = pacer.adjust(state)
                self._slowest = min(self._slowest, pacer.pace)
                show(played, total, f"{played:,} of {total:,} trades, {lag:,} records to read, pace {pacer.pace:g}")
                is_done = state["state"] == "done" and is_recorded(settings.home)
                return is_done, (played, lag, state["state"])

            wait_while_moving(poll, PLAY_STALLED_S, "the market", "tickhouse logs exchange")

    def _compare(self, settings: Settings) -> ReconcileReport:
        reports: list[ReconcileReport] = []
        with self._screen.status("waiting for the stores") as show:

            def poll() -> tuple[bool, object]:
                lag = lag_records(settings)
                if lag:
                    show(f"the slowest store has {lag:,} records to read")
                    return False, lag
                reports[:] = [reconcile(settings, Options(), show)]
                show(summary(reports[0]))
                return reports[0].ok, summary(reports[0])

            try:
                wait_while_moving(poll, STORES_STALLED_S, "every store", "tickhouse reconcile")
            except ServiceNotReady:
                if not reports:
                    raise
        return reports[0]  # if it is not complete, its table shows what is missing

    def _compare_gold(self, settings: Settings) -> dict[str, StoreResult]:
        with self._screen.status("reconciling") as show:
            report = reconcile(settings, Options(stores=("kafka",), gold="main"), show)
        return {name: result for name, result in report.checks.items() if name.startswith("gold")}


def services(profile: str) -> list[str]:
    """Return the services of a profile; a light core has no Connect, which only sinks need."""
    known = catalog()
    chosen = in_profile(known, profile)
    if is_light() and profile == "core":
        chosen = [name for name in chosen if name != "connect"]
    return chosen


def clear(folder: Path) -> None:
    """Remove an earlier demo.

    Raises:
        ConfigurationError: The folder contains data that is not a demo's.
    """
    refuse_foreign(folder)
    if is_demo(folder):
        (folder / HOME_MARK).touch()  # a demo that was killed before its servers started has none
        down(purge=True)


def prepare(folder: Path, options: market.MarketOptions) -> None:
    """Create the demo's home with its market file, if the options need one, and its mark."""
    if not folder.exists():
        folder.mkdir(parents=True)
        folder.chmod(0o711)  # as `up` does: PostgreSQL may have to run as `nobody`
    if options.is_light:
        os.environ[SIZE] = "light"
    if options != market.MarketOptions():
        os.environ[EXCHANGE_CONFIG] = str(market.write(folder, options))
    mark(folder, time.time())


def memory() -> int:
    """Return the memory of all services in MB."""
    return sum(service.memory_mb for service in status())


def await_stream(settings: Settings) -> None:
    """Wait until all queries of the streaming job, which Airflow starts, are active.

    Raises:
        ServiceNotReady: Neither Airflow's task nor a query changed for minutes.
    """

    def poll() -> tuple[bool, object]:
        if stream_is_active(settings.home):
            return True, None
        with AirflowApi(settings) as airflow:
            runs = airflow.runs("stream_trades")
            states = airflow.task_states("stream_trades", runs[0]["dag_run_id"]) if runs else {}
        return False, (states, stream_queries(settings.home))

    wait_while_moving(poll, STREAM_STALLED_S, "the streaming job", "tickhouse logs airflow")


def stream_queries(folder: Path) -> dict[str, bool]:
    """Return by query whether it is active; empty before the streaming job reports."""
    try:
        progress = json.loads((folder / "stream" / "progress.json").read_text())
    except (FileNotFoundError, ValueError):
        return {}
    if not psutil.pid_exists(progress["pid"]):
        return {}
    return {name: bool(query["is_active"]) for name, query in progress["queries"].items()}


def stream_is_active(folder: Path) -> bool:
    """Return whether the driver runs and every query is active."""
    queries = stream_queries(folder)
    return bool(queries) and all(queries.values())
