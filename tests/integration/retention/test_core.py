"""Retention of PostgreSQL, Airflow's history, lake branches and Data Docs, on real servers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest

from common.clients.lakefs import INGEST, MAIN, repository
from common.errors import ServiceNotReady, StoreUnavailable
from common.settings import Settings
from spark.streaming.candle_sink import CandleStore
from spark.streaming.partial_sums import SymbolStream, partials
from stack.airflow.setup import migrate
from stack.engine.context import ServiceContext
from stack.engine.lifecycle import catalog
from tests.conftest import Stack
from tests.homes import own_home
from tests.integration.retention.airflow_rows import add_dags, add_run, insert
from tests.unit.spark.streaming.test_partial_sums import facts
from tests.unit.spark.trades import Trade
from tickhouse.lake.branches import commit, ensure_work_branch, head, merge_audited, record_audit
from tickhouse.retention.airflow import AirflowHistory
from tickhouse.retention.airflow import _connected as airflow_database
from tickhouse.retention.alert_rows import AlertRows
from tickhouse.retention.candles import CandlePartitions
from tickhouse.retention.declaration import BranchesKept, CandlesKept
from tickhouse.retention.folders import AuditPages
from tickhouse.retention.lake import BronzeDays, WorkBranches
from tickhouse.retention.policy import Step, StorePlan
from tickhouse.retention.removals import locked
from tickhouse.retention.rows import RedriveRows
from tickhouse.retention.run import apply, plan

pytestmark = pytest.mark.integration

NOW = datetime.now(UTC)
KEPT = CandlesKept(days=400, months_ahead=2, most_partitions=240)


@pytest.fixture(scope="module")
def settings() -> Iterator[Settings]:
    """Return a home of its own, because these tests remove data that others need."""
    with own_home() as home:
        yield Stack(home).up("postgres", "lakefs")


def applied(settings: Settings, policy: Any, now: datetime = NOW) -> StorePlan:
    (done,) = apply(settings, [policy], now, lambda line: None)
    assert done.error == ""
    return done


def rows(settings: Settings, query: str, *values: Any) -> list[tuple[Any, ...]]:
    with psycopg.connect(settings.database_dsn("owner")) as connection:
        cursor = connection.execute(query.encode(), values)
        return cursor.fetchall() if cursor.description else []


def merge(settings: Settings, symbol: str, first_id: int, moments: list[datetime]) -> None:
    """Merge a trade per moment as the streaming job does."""
    store = CandleStore(settings.database_dsn("stream"))
    trades = [
        Trade(first_id + number, symbol=symbol, time_us=int(moment.timestamp()) * 10**6)
        for number, moment in enumerate(moments)
    ]
    stream = SymbolStream(trades[0].market, symbol, trades[0].stream)
    store.apply([row for row in partials(map(facts, trades), {stream: []}) if row["is_fresh"]])
    store.close()


def partitions(settings: Settings, symbol: str) -> dict[str, int]:
    query = "SELECT tableoid::regclass::text, count(*) FROM market.candles_1m WHERE symbol = %s GROUP BY 1"
    return {name.removeprefix("market.candles_1m_"): count for name, count in rows(settings, query, symbol)}


def test_years_of_a_rare_symbol_are_taken_at_once_and_then_lie_in_their_months(settings: Settings) -> None:
    first = datetime(2018, 5, 4, tzinfo=UTC)
    days = [first + timedelta(days=number) for number in range(1_100)]
    merge(settings, "XRPETH", 1, days)
    assert partitions(settings, "XRPETH") == {"default": 1_100}

    policy = CandlePartitions(settings.database_dsn("owner"), KEPT)
    made = [step for step in applied(settings, policy).steps if step.action == "make"]
    assert sum(step.rows or 0 for step in made) == 1_100
    found = partitions(settings, "XRPETH")
    assert len(found) == 37
    assert (found["2018_05"], found["2020_02"], "default" in found) == (28, 29, False)
    assert applied(settings, policy).steps == ()

    merge(settings, "XRPETH", 5_000, [first, first + timedelta(seconds=20)])  # an upsert and a late trade
    query = "SELECT agg_trades FROM market.candles WHERE symbol = 'XRPETH' AND open_time = %s"
    assert rows(settings, query, first) == [(3,)]


def test_a_month_goes_so_long_after_its_last_write_and_is_recorded_first(settings: Settings) -> None:
    old = datetime(2017, 3, 9, tzinfo=UTC)
    merge(settings, "OLDUSDT", 1, [old])
    policy = CandlePartitions(settings.database_dsn("owner"), KEPT)
    applied(settings, policy)
    assert partitions(settings, "OLDUSDT") == {"2017_03": 1}
    assert [step for step in policy.plan(NOW + timedelta(days=399)).steps if step.action == "remove"] == []

    with psycopg.connect(settings.database_dsn("owner")) as connection:
        connection.execute(
            "UPDATE market.candles_1m SET updated_at = updated_at - interval '401 days' WHERE symbol = 'OLDUSDT'"
        )
    (step,) = (one for one in applied(settings, policy).steps if one.action == "remove")
    assert step.item == "candles_1m_2017_03"
    assert partitions(settings, "OLDUSDT") == {}
    query = "SELECT event_from, event_until, state FROM audit.removals WHERE item = %s"
    assert rows(settings, query, step.item) == [
        (datetime(2017, 3, 1, tzinfo=UTC), datetime(2017, 4, 1, tzinfo=UTC), "removed")
    ]
    merge(settings, "OLDUSDT", 2, [old])  # what comes later is taken
    assert partitions(settings, "OLDUSDT") == {"default": 1}


def test_a_reader_delays_one_step_and_loses_no_data(settings: Settings) -> None:
    merge(settings, "BUSYUSDT", 1, [datetime(2016, 1, 5, tzinfo=UTC)])
    policy = CandlePartitions(settings.database_dsn("owner"), KEPT)
    (step,) = (one for one in policy.plan(NOW).steps if one.item == "candles_1m_2016_01")
    done = threading.Event()
    with psycopg.connect(settings.database_dsn("reader")) as reader:
        reader.execute("SELECT count(*) FROM market.candles_1m")
        worker = threading.Thread(target=lambda: (policy.do(step, NOW), done.set()))
        worker.start()
        assert not done.wait(1)
    worker.join(60)
    assert partitions(settings, "BUSYUSDT") == {"2016_01": 1}


@dataclass
class Dying:
    """A policy whose process dies between record and removal, or right after the removal."""

    items: list[str]
    dies_after: bool
    removed: list[str] = field(default_factory=list)
    store: str = "dying"
    declared: str = ""

    def plan(self, now: datetime) -> StorePlan:
        policy = CandlePartitions("", KEPT)
        steps = [policy._drop_step(item, date(2016, 5, 1), (0, 0), None, now) for item in self.items]
        return StorePlan(self.store, "", steps=tuple(steps))

    def do(self, step: Step, now: datetime) -> None:
        if self.dies_after:
            self.items.remove(step.item)
        raise KeyboardInterrupt  # as SIGKILL: nothing after it runs


@pytest.mark.parametrize("dies_after", [False, True])
def test_a_killed_run_is_finished_by_the_next_one(settings: Settings, dies_after: bool) -> None:
    policy = Dying([f"piece-{dies_after}"], dies_after)
    with pytest.raises(KeyboardInterrupt):
        apply(settings, [policy], NOW, lambda line: None)
    query = "SELECT state FROM audit.removals WHERE store = 'dying' AND item = %s"
    assert rows(settings, query, f"piece-{dies_after}") == [("planned",)]

    policy.do = lambda step, now: policy.items.remove(step.item)  # type: ignore[method-assign]
    applied(settings, policy)
    assert (policy.items, rows(settings, query, f"piece-{dies_after}")) == ([], [("removed",)])


def test_two_runs_do_not_work_at_the_same_time(settings: Settings) -> None:
    with locked(settings.database_dsn("owner")), pytest.raises(ServiceNotReady, match="another process"):
        apply(settings, [], NOW, lambda line: None)


def test_a_store_that_is_down_delays_no_other(settings: Settings) -> None:
    down = CandlePartitions("postgresql://nobody@127.0.0.1:1/none", KEPT)
    found = plan([down, RedriveRows(settings.database_dsn("owner"), 90)], NOW)
    assert [bool(one.error) for one in found] == [True, False]
    from tickhouse.retention.run import require_all_done

    with pytest.raises(StoreUnavailable, match="candles: PostgreSQL"):
        require_all_done(found)


def test_rows_of_redrives_go_when_their_letters_have(settings: Settings) -> None:
    query = """
        INSERT INTO audit.redrives (letter_topic, letter_partition, letter_offset, fingerprint, reason, target_topic,
            try, state, by_user, sent_at)
        VALUES ('dlq.spark', 0, %s, %s, 'r', 't', 1, 'sent', 'me', %s)
    """
    for offset, days in ((1, 91), (2, 89)):
        rows(settings, query, offset, str(offset), NOW - timedelta(days=days))
    assert applied(settings, RedriveRows(settings.database_dsn("owner"), 90)).steps[0].rows == 1
    assert rows(settings, "SELECT letter_offset FROM audit.redrives") == [(2,)]


# -- Airflow --


def test_airflow_keeps_the_last_run_and_the_last_good_run_of_each_dag(settings: Settings) -> None:
    context = ServiceContext(catalog()["airflow"], settings)
    for folder in (context.conf, context.data):
        folder.mkdir(parents=True, exist_ok=True)
    migrate(context)
    with airflow_database(settings) as connection:
        add_dags(connection, ("nightly", "silent"))
        ids = {}
        for days in (50, 40, 31, 29, 1):
            state = "success" if days == 40 else "failed"
            ids[days] = add_run(connection, "nightly", state, NOW - timedelta(days=days))
        for state, days in (("success", 90), ("running", 80)):
            ids[days] = add_run(connection, "silent", state, NOW - timedelta(days=days))
        for event, days in (("old", 31), ("new", 0)):
            insert(connection, "log", dttm=NOW - timedelta(days=days), event=event)

    policy = AirflowHistory(settings, 30)
    assert {step.item: step.rows for step in policy.plan(NOW).steps} == {"dag_run": 2, "callback": 4, "log": 1}
    applied(settings, policy)

    with airflow_database(settings) as connection:
        runs = connection.execute("SELECT dag_id, run_id FROM dag_run ORDER BY id").fetchall()
        tasks = connection.execute("SELECT count(*) FROM task_instance").fetchone()
        handed_on = connection.execute("SELECT count(*) FROM xcom").fetchone()
        deadlines = connection.execute("SELECT count(*) FROM deadline JOIN callback ON callback.id = callback_id")
        left = deadlines.fetchone()
        logs = connection.execute("SELECT event FROM log WHERE event IN ('old', 'new')").fetchall()
    assert runs == [*(("nightly", ids[days]) for days in (40, 29, 1)), *(("silent", ids[days]) for days in (90, 80))]
    assert (tasks, handed_on, left, logs) == ((5,), (5,), (3,), [("new",)])
    assert applied(settings, policy).steps == ()


# -- the lake and the reports that it links --


def put(settings: Settings, branch: str, path: str, text: str = "x") -> None:
    repository(settings).branch(branch).object(path).upload(text, mode="w")


def build(settings: Settings, day: str, *, ok: bool) -> str:
    branch = f"etl-{day}"
    ensure_work_branch(settings, branch)
    put(settings, branch, f"silver/trades/date={day}/hour=00/part-0.parquet", day)
    made = commit(settings, branch, f"build {day}", {})
    record_audit(settings, branch, of=made, ok=ok, report=f"{settings.data_docs_url}/report-{day}/index.html")
    return branch


def test_branches_reports_and_days_go_when_nothing_needs_them(settings: Settings) -> None:
    for day in ("2026-01-01", "2026-01-02", "2026-01-03"):
        put(settings, INGEST, f"bronze/trades/date={day}/hour=00/crypto.trades-0-0-1.parquet", day)
    commit(settings, INGEST, "ingest", {})
    merge_audited(settings, build(settings, "2026-01-01", ok=True), tag="daily-2026-01-01")
    build(settings, "2026-01-02", ok=False)
    put(settings, INGEST, "bronze/trades/date=2026-01-01/hour=09/crypto.trades-0-9-10.parquet", "late")

    branches = WorkBranches(settings, BranchesKept(merged_days=7, failed_days=30))
    assert branches.plan(NOW + timedelta(days=6)).steps == ()
    assert [step.item for step in branches.plan(NOW + timedelta(days=8)).steps] == ["etl-2026-01-01"]
    assert len(branches.plan(NOW + timedelta(days=31)).steps) == 2

    # A late file of the first day waits for another nightly run; the other days were never
    # published.
    days = BronzeDays(settings, 30)
    assert "2026-01-01 is old but not published: it stays" in days.plan(NOW + timedelta(days=31)).notes
    assert days.plan(NOW + timedelta(days=31)).steps == ()

    root = settings.home / "data_docs"
    for name in ("report-2026-01-01", "report-2026-01-02", "report-of-nobody"):
        (root / name).mkdir(parents=True)
        report = {
            "at": f"{NOW:%Y-%m-%dT%H:%M:%SZ}",
            "commit_id": name,
            "what": "lake",
            "days": "",
            "ok": True,
            "broken": [],
        }
        (root / name / "report.json").write_text(json.dumps(report))
    pages = AuditPages(settings, 90)
    late = NOW + timedelta(days=91)
    assert [step.item for step in applied(settings, pages, late).steps] == ["report-of-nobody"]

    applied(settings, branches, late)
    assert [one.id for one in repository(settings).branches(prefix="etl-")] == []
    assert head(settings, "daily-2026-01-01") == head(settings, MAIN)
    # The tag's merge carries the report of the first day; nothing links the failed one any more.
    assert [step.item for step in applied(settings, pages, late).steps] == ["report-2026-01-02"]
    assert sorted(path.name for path in root.iterdir() if path.is_dir()) == ["report-2026-01-01"]
    assert applied(settings, pages, late).steps == ()


def test_alerts_go_with_their_deliveries_but_one_that_kafka_lacks_stays(settings: Settings) -> None:
    old, fresh = NOW - timedelta(days=40), NOW - timedelta(days=20)
    alerts = {"old": (old, old), "fresh": (fresh, fresh), "old and not sent": (old, None)}
    for alert_id, (raised_at, published_at) in alerts.items():
        rows(
            settings,
            "INSERT INTO alerts.alerts (alert_id, rule, kind, severity, raised_at, is_historic, document, published_at)"
            " VALUES (%s, 'price_jump', 'price_move', 'warning', %s, false, '{}', %s)",
            *(alert_id, raised_at, published_at),
        )
    for number, updated_at in enumerate((old, old, fresh)):
        rows(
            settings,
            "INSERT INTO alerts.deliveries (alert_id, channel, state, updated_at) VALUES (%s, 'file', 'delivered', %s)",
            *(f"alert {number}", updated_at),
        )
        key = f"rule {number}"
        rows(settings, "INSERT INTO alerts.rule_states (key, state, updated_at) VALUES (%s, '{}', %s)", key, updated_at)
    policy = AlertRows(settings.database_dsn("owner"), days=30)

    done = applied(settings, policy)

    assert {step.item: step.rows for step in done.steps} == {"alerts": 1, "deliveries": 2, "rule_states": 2}
    assert rows(settings, "SELECT alert_id FROM alerts.alerts ORDER BY 1") == [("fresh",), ("old and not sent",)]
    assert rows(settings, "SELECT alert_id FROM alerts.deliveries") == [("alert 2",)]
    assert rows(settings, "SELECT key FROM alerts.rule_states") == [("rule 2",)]
    assert applied(settings, policy).steps == ()
