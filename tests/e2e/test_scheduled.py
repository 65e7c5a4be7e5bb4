"""DAGs under the real scheduler, beside the streaming job: backfill, nightly batch, audit, report.

The days of `TWO_DAYS` are published once for the module, by whichever test needs them first. The
archive files are made here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import psutil
import psycopg
import pytest

from common.clients.airflow import AirflowApi
from common.clients.lakefs import MAIN, repository
from common.clients.neo4j import connected
from common.settings import Settings
from common.topics import ALERTS
from spark.batch.files import LakeFiles
from spark.batch.reproduce import published, table_hash
from stack.engine import supervisor
from stack.engine.processes import process_tree
from tests.conftest import Stack
from tests.e2e.archives import write_archive
from tests.e2e.lakehouse import await_stream, tickhouse, topic_log, until
from tests.faults.processes import held_within_a_transaction, kill, lease_record
from tests.runbook.following import FollowedPage
from tests.unit.tickhouse.checks.reconcile.samples import trade
from tickhouse.checks.reconcile import gold
from tickhouse.checks.reconcile.lake_bronze import connect
from tickhouse.checks.reconcile.model import CheckedStream, CheckedTrade
from tickhouse.checks.reconcile.store_result import StoreResult
from tickhouse.dag_tasks.nightly.missed_nights import run_id_of
from tickhouse.dag_tasks.stream_trades import spark_ui_url
from tickhouse.demo.publication import commit_lake
from tickhouse.lake.branches import head
from tickhouse.lake.refs import exists

# A test alone starts the stack, publishes two days and recovers from a kill before it can look.
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

MIDNIGHT = datetime(2024, 3, 2, tzinfo=UTC)
DAYS = {"from": "2024-03-01", "to": "2024-03-02"}
# The stack is shared: no other test may bring trades of this day.
EMPTY_DAY = "2024-03-20"
BAD_DAY = {"from": "2024-03-05", "to": "2024-03-05"}
TAGS = ["daily-2024-03-01", "daily-2024-03-02"]
KEY = CheckedStream("spot", "LTCUSDT", "aggTrade")
# A killed run goes on when Airflow misses the heartbeat of its task: stack/airflow/service.yaml.
PUBLISHED_S = 300.0


def trades(first: int, start: datetime, prices: list[str]) -> list[CheckedTrade]:
    """Return one trade per second from `start` on, with ids from `first` on."""
    start_us = microseconds(start)
    return [
        trade(
            first + at, key=KEY, first_id=first + at, last_id=first + at, time_us=start_us + at * 10**6, qty=25_000_000,
            price=int(Decimal(price).scaleb(8)), side="SELL" if at % 3 == 0 else "BUY",
        )
        for at, price in enumerate(prices)
    ]  # fmt: skip


def microseconds(moment: datetime) -> int:
    return int(moment.timestamp()) * 10**6


TWO_DAYS = trades(500, MIDNIGHT - timedelta(minutes=10), [f"{100 + at % 17}.{at % 100:02}" for at in range(1200)])
# A day is over, and its silent minutes get flat candles, when the lake has a trade of a later day.
LATER_DAY = trades(500 + len(TWO_DAYS), MIDNIGHT + timedelta(days=2), ["100"])


@pytest.fixture(scope="module")
def settings(stack: Stack) -> Settings:
    settings = stack.up()
    await_stream(settings)
    return settings


@pytest.fixture(scope="module")
def airflow(settings: Settings) -> Iterator[AirflowApi]:
    needed = {"backfill", "data_quality", "lake_commit", "monthly_report", "nightly_batch"}
    with AirflowApi(settings) as session:
        until("every DAG", session.paused, 120.0, holds=lambda dags: needed <= dags.keys())
        yield session


@dataclass(frozen=True)
class Publication:
    """How `TWO_DAYS` came to `main`, while two runs met and all tasks were killed.

    Attributes:
        main_before: Head of `main` before anything was started.
        main_after_kill: Head of `main` when the tasks had been killed.
        backfill: Id of the run of `backfill`.
        nightly_states: Final state of the two runs of `nightly_batch`, by run id.
        backfill_state: Final state of the run of `backfill`.
        commit: The newest commit of `main` when all runs had ended.
    """

    main_before: str
    main_after_kill: str
    backfill: str
    nightly_states: dict[str, str]
    backfill_state: str
    commit: Any


@pytest.fixture(scope="module")
def publication(settings: Settings, airflow: AirflowApi) -> Publication:
    """Publish the days by a backfill and by hand at once, and kill all tasks before the merge."""
    file = write_archive(archives(settings) / "two_days.csv", TWO_DAYS + LATER_DAY)
    before = head(settings, MAIN)
    backfill = airflow.trigger("backfill", {"market": "spot", "symbol": "LTCUSDT", **DAYS, "file": str(file)})
    let_deadline_pass(settings, backfill)
    (first,) = until(
        "the backfill's run of nightly_batch",
        lambda: [run["dag_run_id"] for run in airflow.runs("nightly_batch") if run["conf"] == DAYS],
        300.0,
    )
    second = airflow.trigger("nightly_batch", DAYS)
    until(
        "a committed branch",
        lambda: airflow.task_states("nightly_batch", first),
        300.0,
        holds=lambda states: states.get("settle") == "success",
    )
    kill_scheduler_and_tasks(settings)
    after_kill = head(settings, MAIN)
    nightly_states = {run: airflow.wait("nightly_batch", run, PUBLISHED_S) for run in (first, second)}
    backfill_state = airflow.wait("backfill", backfill, 120.0)
    commit = repository(settings).ref(MAIN).get_commit()
    return Publication(before, after_kill, backfill, nightly_states, backfill_state, commit)


def archives(settings: Settings) -> Path:
    """Return the folder from which DAG `backfill` reads files."""
    return settings.home / "archives"


def let_deadline_pass(settings: Settings, run_id: str) -> None:
    """Move the deadline of a run into the past, as if its twelve hours were over."""
    query = "UPDATE deadline SET deadline_time = now() FROM dag_run WHERE dagrun_id = dag_run.id AND run_id = %s"
    with airflow_database(settings) as connection:
        assert connection.execute(query, [run_id]).rowcount == 1


def airflow_database(settings: Settings) -> psycopg.Connection[Any]:
    """Open Airflow's metadata database."""
    address = urlsplit(settings.database_url.get_secret_value()).netloc.rpartition("@")[2]
    password = settings.postgres_airflow_password.get_secret_value()
    return psycopg.connect(f"postgresql://airflow:{quote(password)}@{address}/airflow", autocommit=True)


def kill_scheduler_and_tasks(settings: Settings) -> None:
    """Kill the scheduler within a transaction, and all that it runs except the streaming job."""
    driver = lease_record(settings.home / "stream")
    assert driver is not None
    stream = psutil.Process(driver.pid)
    spared = {process.pid for process in (stream, *stream.parents(), *stream.children(recursive=True))}
    scheduler = supervisor.state("airflow-scheduler").pid
    with held_within_a_transaction(settings, psutil.Process(scheduler)):
        for process in process_tree(scheduler):
            if process.pid == scheduler or process.pid not in spared:
                kill(process.pid)


def test_runs_that_meet_and_a_kill_between_commit_and_merge_give_one_merge(
    settings: Settings, publication: Publication
) -> None:
    assert publication.main_after_kill == publication.main_before
    assert list(publication.nightly_states.values()) == ["success", "success"]
    assert publication.backfill_state == "success"
    newest = publication.commit
    assert newest.parents[0] == publication.main_before
    assert len(newest.parents) == 2
    assert newest.metadata["audit.ok"] == "true"
    tags = {tag.id: tag.get_commit().id for tag in repository(settings).tags() if tag.id.startswith(tuple(TAGS))}
    assert tags == dict.fromkeys(TAGS, newest.id)


def test_a_run_that_missed_its_deadline_is_reported_and_goes_on(settings: Settings, publication: Publication) -> None:
    (late,) = [one for one in alerts(settings, publication.backfill) if one["kind"] == "run_late"]

    assert (late["dag"], late["minutes"]) == ("backfill", 720)
    assert publication.backfill_state == "success"


def test_notes_links_and_events_name_the_commit(
    settings: Settings, airflow: AirflowApi, publication: Publication
) -> None:
    commit = publication.commit
    notes = {run["dag_run_id"]: run["note"] for dag in ("nightly_batch", "backfill") for run in airflow.runs(dag)}
    assert f"main is at {commit.id[:12]}" in notes[publication.backfill]
    published, repeated = sorted((notes[run] for run in publication.nightly_states), reverse=True)
    assert published.startswith(f"Published 2024-03-01..2024-03-02 at commit {commit.id[:12]} ({TAGS[0]}, {TAGS[1]})")
    assert repeated.startswith("Found nothing to change in 2024-03-01..2024-03-02")
    assert commit.metadata["audit.report"] in published

    shown = {link for run in publication.nightly_states for link in links(airflow, "nightly_batch", run, "audit")}
    assert shown == {
        ("Audit report", commit.metadata["audit.report"]),
        ("All audit reports", settings.data_docs_url),
    }
    page = f"{settings.api_url}/commits/{commit.id}"
    assert {link for run in publication.nightly_states for link in links(airflow, "nightly_batch", run, "publish")} == {
        ("Lake commit", page)
    }
    assert commit.metadata["audit.report"] in httpx.get(page, trust_env=False).text
    stream = airflow.runs("stream_trades")[0]["dag_run_id"]
    assert links(airflow, "stream_trades", stream, "stream") == {("Spark UI", spark_ui_url())}

    (event,) = events(airflow, "lake_main")
    assert event["extra"] == {"commit": commit.id, "from": "2024-03-01", "to": "2024-03-02"}
    assert [run["run_type"] for run in airflow.runs("graph_sync")] == ["asset_triggered"], "none for the second run"


def test_the_log_of_a_run_tells_what_was_done_without_an_error(
    settings: Settings, airflow: AirflowApi, publication: Publication
) -> None:
    (run,) = [name for name in publication.nightly_states if not name.startswith("manual__")]
    logs = settings.home / "airflow" / "logs" / "dag_id=nightly_batch" / f"run_id={run}"
    last_tries = {folder.name: sorted(folder.glob("attempt=*.log"))[-1] for folder in logs.iterdir() if folder.is_dir()}
    lines = {name: [json.loads(line) for line in file.read_text().splitlines()] for name, file in last_tries.items()}

    loud = [line for found in lines.values() for line in found if line.get("level") in ("error", "critical")]
    assert loud == []
    texts = " ".join(str(line.get("event")) for found in lines.values() for line in found)
    assert "This run builds 2024-03-01..2024-03-02 (by its parameters)." in texts
    assert "rows of the daily tables changed" in texts


def links(airflow: AirflowApi, dag: str, run: str, task: str) -> set[tuple[str, str]]:
    """Return the links that Airflow shows at a task: name and address."""
    path = f"/api/v2/dags/{dag}/dagRuns/{quote(run)}/taskInstances/{task}/links"
    return {(name, url) for name, url in airflow._call("GET", path)["extra_links"].items() if url}


def events(airflow: AirflowApi, asset: str) -> list[dict[str, Any]]:
    """Return the events of an asset."""
    found = airflow._call("GET", "/api/v2/assets/events?limit=100")["asset_events"]
    return [event for event in found if event["name"] == asset]


def test_a_run_by_hand_builds_the_day_of_its_logical_date_or_says_why_not(
    settings: Settings, airflow: AirflowApi, publication: Publication
) -> None:
    path = "/api/v2/dags/nightly_batch/dagRuns"
    runs = {
        day: airflow._call("POST", path, {"logical_date": f"{day}T00:00:00Z", "conf": {}})["dag_run_id"]
        for day in ("2024-03-02", EMPTY_DAY)
    }

    assert airflow.wait("nightly_batch", runs["2024-03-02"], PUBLISHED_S) == "success"
    assert airflow.wait("nightly_batch", runs[EMPTY_DAY], 120.0) == "failed"

    notes = {run["dag_run_id"]: run["note"] for run in airflow.runs("nightly_batch")}
    assert " 2024-03-02 at commit " in notes[runs["2024-03-02"]]
    reason = f"The lake has no trade of {EMPTY_DAY}, so nothing was built."
    assert notes[runs[EMPTY_DAY]].startswith(f"Failed in task prepare: {reason}")
    (message,) = until("an alert", lambda: alerts(settings, runs[EMPTY_DAY]), 60.0)
    assert message["error"].startswith(reason)
    assert tries(airflow, "nightly_batch", runs[EMPTY_DAY], "prepare") == 1, "not retried"


def tries(airflow: AirflowApi, dag: str, run: str, task: str) -> int:
    """Return how often a task was tried."""
    path = f"/api/v2/dags/{dag}/dagRuns/{quote(run)}/taskInstances/{task}"
    return int(airflow._call("GET", path)["try_number"])


@pytest.mark.parametrize("interval", gold.INTERVALS_US)
def test_gold_is_what_was_offered(settings: Settings, publication: Publication, interval: str) -> None:
    from_us = microseconds(MIDNIGHT - timedelta(days=1))
    until_us = microseconds(MIDNIGHT + timedelta(days=1))
    stored = [
        candle for candle in gold.read(connect(settings, MAIN), interval) if from_us <= candle.open_time_us < until_us
    ]
    verdict = StoreResult(interval, limit=3)

    gold.compare(stored, gold.expected(TWO_DAYS, interval, until_us), verdict)

    assert verdict.examples == []
    assert verdict.count == verdict.distinct


def test_the_monthly_report_and_the_audit_on_demand_succeed(
    settings: Settings, airflow: AirflowApi, publication: Publication
) -> None:
    report = airflow.trigger("monthly_report", {"ref": TAGS[0], "month": "2024-03"})
    audit = airflow.trigger("data_quality", {"ref": TAGS[0], **DAYS})

    assert airflow.wait("data_quality", audit, 180.0) == "success"
    assert airflow.wait("monthly_report", report, 240.0) == "success"
    commit = publication.commit.id
    page = (settings.home / "data_docs" / "reports" / f"monthly-2024-03-{commit[:16]}.html").read_text()
    assert page.count('src="data:image/png') == 2
    assert table_hash(published(LakeFiles.of(settings, commit), MIDNIGHT.date().replace(day=1))) in page
    measures = (settings.home / "data_docs" / "reports" / f"measures-2024-03-{commit[:16]}.html").read_text()
    assert measures.count('src="data:image/png') == 3


@pytest.mark.usefixtures("publication")
def test_the_graph_follows_a_publication_where_neo4j_is_enabled(
    stack: Stack, settings: Settings, airflow: AirflowApi
) -> None:
    (first, *_) = until("a run after the publication", lambda: airflow.runs("graph_sync"), 120.0)
    assert first["run_type"] == "asset_triggered"
    assert airflow.wait("graph_sync", first["dag_run_id"], 120.0) == "success"
    assert airflow.task_states("graph_sync", first["dag_run_id"]) == {"sync": "skipped", "announce": "skipped"}

    stack.up("neo4j")
    by_hand = airflow.trigger("graph_sync", {"ref": TAGS[1]})
    assert airflow.wait("graph_sync", by_hand, 240.0) == "success"
    with connected(settings, "reader") as graph:
        hours = graph.read("MATCH (hour:TradedHour) RETURN hour.hour_id AS id, hour.trades AS trades ORDER BY id")
    assert hours == [
        {"id": "spot:LTCUSDT:2024-03-01T23", "trades": 600},
        {"id": "spot:LTCUSDT:2024-03-02T00", "trades": 600},
    ]


@pytest.mark.runbook("audit-failed")
def test_a_backfill_that_breaks_a_law_is_not_published_and_sends_an_alert(
    settings: Settings, airflow: AirflowApi, followed: FollowedPage
) -> None:
    before = head(settings, MAIN)
    jump = ["70"] * 60 + ["630"] * 60  # nine times as much within a minute
    file = write_archive(archives(settings) / "jump.csv", trades(90_000, datetime(2024, 3, 5, 12, tzinfo=UTC), jump))
    run = airflow.trigger("backfill", {"market": "spot", "symbol": "LTCUSDT", **BAD_DAY, "file": str(file)})

    assert airflow.wait("backfill", run, 300.0) == "failed"
    assert head(settings, MAIN) == before
    failed = next(run for run in airflow.runs("nightly_batch") if run["conf"] == BAD_DAY)
    assert failed["note"].startswith("Audit failed: http")
    (message,) = until("an alert", lambda: alerts(settings, failed["dag_run_id"]), 60.0)
    assert message["kind"] == "run_failed"
    assert (message["dag"], message["task"]) == ("nightly_batch", "audit")
    assert any("no price moves by more than half within a minute" in law for law in message["laws"])
    assert {"from": message["from"], "to": message["to"]} == BAD_DAY
    assert message["report"] in failed["note"]
    followed.values = {"BRANCH": "etl-2024-03-05"}
    assert "failed" in followed.check()
    followed.repair()
    assert not exists(settings, "etl-2024-03-05")


@pytest.mark.runbook("dag-paused")
@pytest.mark.parametrize("needed", ["lake_commit", "nightly_batch"])
def test_a_backfill_fails_at_once_while_a_dag_that_it_needs_is_paused(
    airflow: AirflowApi, needed: str, followed: FollowedPage
) -> None:
    airflow.pause(needed, is_paused=True)
    try:
        run = airflow.trigger("backfill", {"market": "spot", "symbol": "LTCUSDT", **DAYS})
        assert airflow.wait("backfill", run, 120.0) == "failed"
        followed.values = {"DAG": needed}
        followed.check()
        followed.repair()
        assert airflow.paused()[needed] is False
    finally:
        airflow.pause(needed, is_paused=False)
    states = airflow.task_states("backfill", run)
    assert states["check"] == "failed"
    assert states["fetch"] == "upstream_failed"


@pytest.mark.runbook("run-failed")
def test_a_run_that_failed_succeeds_with_the_right_parameter(
    settings: Settings, airflow: AirflowApi, followed: FollowedPage
) -> None:
    failed = airflow.trigger("data_quality", {"ref": "no-such-branch"})
    assert airflow.wait("data_quality", failed, 120.0) == "failed"
    (message,) = until("an alert", lambda: alerts(settings, failed), 60.0)
    assert (message["task"], message["report"]) == ("choose", "")
    assert "'no-such-branch' not found" in message["error"]
    assert tries(airflow, "data_quality", failed, "choose") == 1, "not retried"

    assert "failed" in followed.check()
    followed.repair()

    again = airflow.trigger("data_quality", {"ref": "main"})
    assert airflow.wait("data_quality", again, 120.0) == "success"


@pytest.mark.long
def test_nights_that_were_missed_are_built_by_the_next_one(
    settings: Settings, airflow: AirflowApi, tmp_path: Path
) -> None:
    """The lake has trades of three days without a run, as if the machine had been off."""
    yesterday = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
    missed = [yesterday - timedelta(days=number) for number in (3, 2, 1)]
    offered = [
        one
        for at, day in enumerate(missed)
        for one in trades(500_000 + 60 * at, day + timedelta(hours=12), ["80"] * 60)
    ]
    file = write_archive(tmp_path / "off.csv", offered)
    tickhouse("replay", file, "--market", "spot", "--symbol", "LTCUSDT")
    commit_lake(settings)

    run = airflow.trigger("nightly_batch")
    assert airflow.wait("nightly_batch", run, PUBLISHED_S) == "success"

    night = night_of(airflow, run)
    for day in missed:
        assert airflow.wait("nightly_batch", run_id_of(day.date(), night), PUBLISHED_S) == "success"
    tags = {tag.id for tag in repository(settings).tags()}
    assert {f"daily-{day:%Y-%m-%d}" for day in missed} <= tags
    again = airflow.trigger("nightly_batch")
    assert airflow.wait("nightly_batch", again, PUBLISHED_S) == "success"
    runs = [one["dag_run_id"] for one in airflow.runs("nightly_batch")]
    for day in missed:
        assert len([run_id for run_id in runs if run_id.startswith(f"missed__{day:%Y-%m-%d}__")]) == 1


def night_of(airflow: AirflowApi, run_id: str) -> date:
    """Return the day that a run without parameters builds: the one before the run."""
    (run_after,) = (run["run_after"] for run in airflow.runs("nightly_batch") if run["dag_run_id"] == run_id)
    return datetime.fromisoformat(run_after).astimezone(UTC).date() - timedelta(days=1)


def alerts(settings: Settings, run_id: str) -> list[dict[str, Any]]:
    """Return the messages about a run."""
    with topic_log(settings) as reader:
        messages = [json.loads(record.value() or b"{}") for record in reader.read(ALERTS)]
    return [message for message in messages if message.get("run_id") == run_id]
