"""`tickhouse demo`, step by step; each step is a command that a person could have typed.

1. an earlier demo is removed (its ids would be known duplicates); a lakehouse with replayed files is not touched;
2. profile core comes up; Airflow starts the streaming job by itself;
3. the local exchange and the live producer start, and the market plays, faults included;
4. every store is weighed against the exchange's truth until all of it has arrived;
5. Airflow commits the lake;
6. Airflow builds, audits and publishes the market's days, and gold of `main` is weighed as well.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psutil
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from stack.engine import down, up
from tickhouse.airflow_api import AirflowApi
from tickhouse.days import Days
from tickhouse.errors import ConfigurationError, ReconcileFailed, ServiceNotReady
from tickhouse.lake.client import INGEST, MAIN, lake_errors, repository
from tickhouse.lake.looking import names
from tickhouse.reconcile.law import Report
from tickhouse.reconcile.run import Options, reconcile
from tickhouse.reconcile.verdict import Verdict
from tickhouse.settings import Settings, home, load_settings

MARK = "demo.json"
STREAM_WAIT_S = 180.0
PLAY_WAIT_S = 600.0
RECONCILE_WAIT_S = 240.0
COMMIT_WAIT_S = 120.0
NIGHTLY_WAIT_S = 300.0
EVERY_S = 0.5


@dataclass
class Outcome:
    """What the demo ended with.

    Attributes:
        seconds: Duration of each step.
        commit: What the last lake commit names.
        main: The commit of `main` that the nightly run published: id, message, metadata, tags.
    """

    report: Report
    commit: dict[str, Any] = field(default_factory=dict)
    main: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


class Demo:
    """One run of the demo.

    Args:
        console: Where progress goes.
        progress: Takes the engine's messages.
        profile: What to start beside exchange and producer: core, or core and more.
    """

    def __init__(self, console: Console, progress: Any, profile: str = "core") -> None:
        self._console = console
        self._profile = profile
        self._progress = progress
        self._seconds: dict[str, float] = {}

    def run(self) -> Outcome:
        """Run all steps.

        Raises:
            ConfigurationError: The lakehouse holds data that is not a demo's.
            ServiceNotReady: A step did not end in time.
            ReconcileFailed: A store does not hold what the exchange offered.
        """
        with self._step("remove the earlier demo"):
            clear(home())
        with self._step("start the servers"), self._progress:
            up(self._profile, report=self._progress)
        settings = load_settings()
        (home() / MARK).write_text(json.dumps({"started_at": time.time()}))
        with self._step("wait for Airflow's streaming job"):
            wait_for(lambda: stream_is_active(home()), STREAM_WAIT_S, "the streaming job", "tickhouse logs airflow")
        with self._step("play the market"):
            up(services=["exchange", "producer"], report=self._progress)
            self._play(settings)
        with self._step("weigh every store"):
            report = self._weigh(settings)
        with self._step("commit the lake by Airflow"):
            commit = commit_lake(settings)
        with self._step("build, audit and publish by Airflow"):
            main = publish_days(settings, market_days(settings.home))
        with self._step("weigh gold"):
            report.checks |= self._weigh_gold(settings)
        return Outcome(report, commit, main, self._seconds)

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        self._console.print(f"[bold]{name}[/]")
        started = time.monotonic()
        yield
        self._seconds[name] = round(time.monotonic() - started, 1)
        self._console.print(f"[dim]{name}: {self._seconds[name]} s[/]")

    def _play(self, settings: Settings) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:,.0f} of {task.total:,.0f} trades"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self._console) as bar:
            task = bar.add_task("exchange", total=exchange_state(settings)["trades_total"])

            def is_done() -> bool:
                state = exchange_state(settings)
                bar.update(task, completed=state["trades_played"], total=state["trades_total"])
                return bool(state["state"] == "done") and is_recorded(settings.home)

            wait_for(is_done, PLAY_WAIT_S, "the market", "tickhouse logs exchange")

    def _weigh(self, settings: Settings) -> Report:
        with self._console.status("reconciling") as status:
            report = reconcile(settings, Options(), status.update, RECONCILE_WAIT_S)
        return report

    def _weigh_gold(self, settings: Settings) -> dict[str, Verdict]:
        with self._console.status("reconciling") as status:
            report = reconcile(settings, Options(stores=("kafka",), gold="main"), status.update)
        return {name: verdict for name, verdict in report.checks.items() if name.startswith("gold")}


def clear(folder: Path) -> None:
    """Remove an earlier demo.

    Raises:
        ConfigurationError: The folder holds replayed files, or a market that no demo played.
    """
    if not folder.exists():
        return
    truth = folder / "truth"
    is_demo = (folder / MARK).exists()
    if (truth / "files.jsonl").exists() or (not is_demo and (truth / "exchange.json").exists()):
        raise ConfigurationError(
            f"The lakehouse in {folder} holds data of its own.",
            safe="Nothing was removed.",
            next_command="TICKHOUSE_HOME=$HOME/tickhouse-demo tickhouse demo, or tickhouse down --purge to give it up",
        )
    if is_demo:
        down(purge=True)


def wait_for(probe: Callable[[], bool], timeout_s: float, what: str, next_command: str) -> None:
    """Poll until `probe` holds.

    Raises:
        ServiceNotReady: It does not within `timeout_s`.
    """
    deadline = time.monotonic() + timeout_s
    while not probe():
        if time.monotonic() >= deadline:
            raise ServiceNotReady(f"Waited {timeout_s:.0f} s for {what}.", next_command=next_command)
        time.sleep(EVERY_S)


def stream_is_active(folder: Path) -> bool:
    """Return whether the driver lives and every query is active."""
    try:
        progress = json.loads((folder / "stream" / "progress.json").read_text())
    except (FileNotFoundError, ValueError):
        return False
    return psutil.pid_exists(progress["pid"]) and all(query["is_active"] for query in progress["queries"].values())


def exchange_state(settings: Settings) -> dict[str, Any]:
    """Return the local exchange's state: `state`, `trades_played`, `trades_total`.

    Raises:
        ServiceNotReady: It does not answer.
    """
    try:
        answer = httpx.get(f"{settings.exchange_rest_url}/tickhouse/state", timeout=10.0, trust_env=False)
        answer.raise_for_status()
    except httpx.HTTPError as error:
        raise ServiceNotReady(
            f"The exchange did not answer: {error}.", next_command="tickhouse logs exchange"
        ) from error
    state: dict[str, Any] = answer.json()
    return state


def commit_lake(settings: Settings) -> dict[str, Any]:
    """Have Airflow commit the lake; return the last commit of `ingest`.

    Raises:
        ReconcileFailed: The run failed.
    """
    with AirflowApi(settings) as airflow:
        run_id = airflow.trigger("lake_commit")
        state = airflow.wait("lake_commit", run_id, COMMIT_WAIT_S)
    if state != "success":
        raise ReconcileFailed(f"Airflow's lake_commit ended as {state}.", next_command="tickhouse logs airflow")
    return newest_commit(settings, INGEST)


def newest_commit(settings: Settings, branch: str) -> dict[str, Any]:
    """Return a branch's newest commit: id, message, metadata."""
    with lake_errors(settings):
        head: Any = repository(settings).branch(branch)
        commit = head.get_commit()
    return {"id": commit.id, "message": commit.message, "metadata": dict(commit.metadata or {})}


def is_recorded(folder: Path) -> bool:
    """Return whether the exchange has written down all that it played: it does so once a second, and is done before."""
    try:
        played = json.loads((folder / "truth" / "exchange.json").read_text())
    except FileNotFoundError:
        return False
    return bool(played["played_until_us"] >= played["end_us"])


def market_days(folder: Path) -> Days:
    """Return the event days that the local exchange played."""
    played = json.loads((folder / "truth" / "exchange.json").read_text())
    moments = (played["market"]["start_us"], played["end_us"] - 1)
    first, last = (datetime.fromtimestamp(moment // 1_000_000, UTC).date() for moment in moments)
    return Days(first, last)


def publish_days(settings: Settings, days: Days) -> dict[str, Any]:
    """Have Airflow publish days; return the newest commit of `main` and its tags.

    Raises:
        ReconcileFailed: The run failed.
    """
    with AirflowApi(settings) as airflow:
        run_id = airflow.trigger("nightly_batch", {"from": str(days.first), "to": str(days.last)})
        state = airflow.wait("nightly_batch", run_id, NIGHTLY_WAIT_S)
    if state != "success":
        raise ReconcileFailed(f"Airflow's nightly_batch ended as {state}.", next_command="tickhouse logs airflow")
    commit = newest_commit(settings, MAIN)
    tags = [one["tag"] for one in names(settings, "tag") if one["commit"] == commit["id"]]
    return {**commit, "tags": tags}
