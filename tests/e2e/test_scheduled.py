"""What Airflow runs beside the streaming job, under its real scheduler: backfill, publication, audit, report.

The tests run in this order on one lakehouse, on archive files made here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psutil
import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from spark.batch.files import LakeFiles
from spark.batch.reproduce import published, table_hash
from stack.engine import supervise
from stack.engine.leftovers import tree
from tests.conftest import Stack
from tests.e2e.lakehouse import await_stream, until
from tests.faults.victims import kill, lease_record
from tests.unit.reconcile.samples import trade
from tickhouse.airflow_api import AirflowApi
from tickhouse.lake.branches import head
from tickhouse.lake.client import MAIN, repository
from tickhouse.nightly.alerts import TOPIC as ALERTS
from tickhouse.reconcile import gold
from tickhouse.reconcile.lake import connect
from tickhouse.reconcile.model import StreamKey, Trade
from tickhouse.reconcile.verdict import Verdict
from tickhouse.settings import Settings

pytestmark = pytest.mark.e2e

MIDNIGHT = datetime(2024, 3, 2, tzinfo=UTC)
DAYS = {"from": "2024-03-01", "to": "2024-03-02"}
BAD_DAY = {"from": "2024-03-05", "to": "2024-03-05"}
TAGS = ["daily-2024-03-01", "daily-2024-03-02"]
KEY = StreamKey("spot", "LTCUSDT", "aggTrade")
# A killed run goes on when Airflow misses the heartbeat of its task: stack/airflow/service.yaml.
PUBLISHED_S = 300.0


def trades(first: int, start: datetime, prices: list[str]) -> list[Trade]:
    """Return a trade a second from `start` on, ids from `first` on."""
    start_us = int(start.timestamp()) * 10**6
    return [
        trade(
            first + at, key=KEY, first_id=first + at, last_id=first + at, time_us=start_us + at * 10**6, qty=25_000_000,
            price=int(Decimal(price).scaleb(8)), side="SELL" if at % 3 == 0 else "BUY",
        )
        for at, price in enumerate(prices)
    ]  # fmt: skip


def archive(path: Path, content: list[Trade]) -> Path:
    """Write trades as data.binance.vision has them."""
    lines = (
        f"{one.trade_id},{Decimal(one.price).scaleb(-8)},{Decimal(one.qty).scaleb(-8)},{one.first_id},"
        f"{one.last_id},{one.time_us // 1000},{one.side == 'SELL'},True\n"
        for one in content
    )
    path.write_text("".join(lines))
    return path


TWO_DAYS = trades(500, MIDNIGHT - timedelta(minutes=10), [f"{100 + at % 17}.{at % 100:02}" for at in range(1200)])


@pytest.fixture(scope="module")
def settings(stack: Stack) -> Settings:
    settings = stack.up()
    await_stream(settings)
    return settings


@pytest.fixture(scope="module")
def airflow(settings: Settings) -> Iterator[AirflowApi]:
    with AirflowApi(settings) as session:
        yield session


def kill_scheduler_and_tasks(settings: Settings) -> None:
    """Kill the scheduler and all that it runs, except the streaming job."""
    driver = lease_record(settings.home / "stream")
    assert driver is not None
    stream = psutil.Process(driver.pid)
    spared = {process.pid for process in (stream, *stream.parents(), *stream.children(recursive=True))}
    scheduler = supervise.state("airflow-scheduler").pid
    for process in tree(scheduler):
        if process.pid == scheduler or process.pid not in spared:
            kill(process.pid)


def test_runs_that_meet_and_a_kill_between_commit_and_merge_give_one_merge(
    settings: Settings, airflow: AirflowApi, tmp_path: Path
) -> None:
    """A backfill has the days published; meanwhile a person asks for the same days; all tasks are killed on the way."""
    file = archive(tmp_path / "two_days.csv", TWO_DAYS)
    before = head(settings, MAIN)
    backfill = airflow.trigger("backfill", {"market": "spot", "symbol": "LTCUSDT", **DAYS, "file": str(file)})
    (first,) = until(
        "the backfill's run of nightly_batch",
        lambda: [run["dag_run_id"] for run in airflow.runs("nightly_batch") if run["conf"] == DAYS],
        180.0,
    )
    second = airflow.trigger("nightly_batch", DAYS)
    until(
        "a committed branch",
        lambda: airflow.task_states("nightly_batch", first),
        180.0,
        holds=lambda states: states.get("settle") == "success",
    )

    kill_scheduler_and_tasks(settings)
    assert head(settings, MAIN) == before

    ends = {run: airflow.wait("nightly_batch", run, PUBLISHED_S) for run in (first, second)}
    assert ends == dict.fromkeys(ends, "success")
    assert airflow.wait("backfill", backfill, 120.0) == "success"
    newest = repository(settings).ref(MAIN).get_commit()
    assert newest.parents[0] == before
    assert len(newest.parents) == 2
    assert newest.metadata["audit.ok"] == "true"
    tags = {tag.id: tag.get_commit().id for tag in repository(settings).tags() if tag.id.startswith(tuple(TAGS))}
    assert tags == dict.fromkeys(TAGS, newest.id)


@pytest.mark.parametrize("interval", gold.INTERVALS_US)
def test_gold_is_what_was_offered(settings: Settings, interval: str) -> None:
    until_us = (
        int((MIDNIGHT + timedelta(days=1)).timestamp()) * 10**6
    )  # trades of later days show that this one is over
    verdict = Verdict(interval, limit=3)
    gold.compare(gold.read(connect(settings, MAIN), interval), gold.expected(TWO_DAYS, interval, until_us), verdict)

    assert (verdict.examples, verdict.count) == ([], verdict.distinct)


def test_the_report_of_the_month_and_the_audit_on_demand_end_green(settings: Settings, airflow: AirflowApi) -> None:
    report = airflow.trigger("monthly_report", {"ref": TAGS[0], "month": "2024-03"})
    audit = airflow.trigger("data_quality", {"ref": TAGS[0], **DAYS})

    assert airflow.wait("data_quality", audit, 180.0) == "success"
    assert airflow.wait("monthly_report", report, 240.0) == "success"
    commit = head(settings, MAIN)
    page = (settings.home / "data_docs" / "reports" / f"monthly-2024-03-{commit[:16]}.html").read_text()
    assert page.count('<img src="data:image/png') == 2
    assert table_hash(published(LakeFiles.of(settings, commit), MIDNIGHT.date().replace(day=1))) in page


def test_a_backfill_that_breaks_a_law_is_not_published_and_sends_word(
    settings: Settings, airflow: AirflowApi, tmp_path: Path
) -> None:
    before = head(settings, MAIN)
    jump = ["70"] * 60 + ["630"] * 60  # nine times as much within a minute
    file = archive(tmp_path / "jump.csv", trades(90_000, datetime(2024, 3, 5, 12, tzinfo=UTC), jump))
    run = airflow.trigger("backfill", {"market": "spot", "symbol": "LTCUSDT", **BAD_DAY, "file": str(file)})

    assert airflow.wait("backfill", run, 300.0) == "failed"
    assert head(settings, MAIN) == before
    failed = next(one for one in airflow.runs("nightly_batch") if one["conf"] == BAD_DAY)
    assert failed["note"].startswith("Audit failed: http")
    (message,) = until("an alert", lambda: alerts(settings, failed["dag_run_id"]), 60.0)
    assert (message["kind"], message["dag"]) == ("run_failed", "nightly_batch")
    assert message["report"] in failed["note"]


def alerts(settings: Settings, run_id: str) -> list[dict[str, Any]]:
    """Return the messages about a run."""
    reader = Consumer(
        {"bootstrap.servers": settings.kafka_bootstrap_servers, "group.id": "tests", "enable.auto.commit": False}
    )
    try:
        parts = reader.list_topics(ALERTS, timeout=10).topics[ALERTS].partitions
        reader.assign([TopicPartition(ALERTS, part, OFFSET_BEGINNING) for part in parts])
        records = reader.consume(100, timeout=5)
    finally:
        reader.close()
    found = [json.loads(record.value()) for record in records if record.error() is None]
    return [one for one in found if one["run_id"] == run_id]
