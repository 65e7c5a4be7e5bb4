"""Write, audit and publish two days of a market on a running lake and PostgreSQL.

The tests corrupt tables, repeat steps, and roll back.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from common.clients.lakefs import INGEST, MAIN, repository
from common.days import ONE_DAY, Days
from common.errors import AuditFailed, AuditMissing, ConfigurationError
from common.settings import REPO, Settings
from spark.batch.files import LakeFiles
from spark.batch.job import Batch
from spark.batch.reproduce import published, table_hash
from tests.conftest import Stack
from tests.homes import own_home
from tests.lakes import MIDNIGHT_US, THE_8TH, THE_9TH, bronze_files, market, rows_of, trade
from tickhouse.checks.reconcile import gold
from tickhouse.checks.reconcile.lake_bronze import connect
from tickhouse.checks.reconcile.model import CheckedStream, CheckedTrade
from tickhouse.dag_tasks import daily_tables
from tickhouse.dag_tasks.nightly import publication
from tickhouse.dag_tasks.nightly.missed_nights import INGEST_TRADES, MAIN_TRADES, days_on, missed_days
from tickhouse.lake.branches import head
from tickhouse.lake.ingest_commit import commit_ingest
from tickhouse.lake.rollback import preview, rollback
from tickhouse.lineage.runs import BUILD_JOB, INGEST_JOB, PUBLISH_JOB
from tickhouse.lineage.walk import table_lineage

pytestmark = pytest.mark.integration
DAYS = Days(THE_8TH, THE_9TH)
# The market skips these ids of BTCUSDT on purpose; in production they are in the gap ledger.
BTC = CheckedStream("spot", "BTCUSDT", "aggTrade")
MISSING = {"gap": {BTC: [(100, 189), (400, 999)]}, "rejected": {}}
LATER = [trade(number, MIDNIGHT_US + number * 60_000, 61_000_00000000, 7) for number in range(1_002, 1_010)]


@dataclass
class Lake:
    settings: Settings
    spark: SparkSession

    def ingest(self, trades: list[CheckedTrade], number: int) -> None:
        branch = repository(self.settings).branch(INGEST)
        for path, body in bronze_files(rows_of(trades, number * 10_000), number).items():
            branch.object(path).upload(body, mode="wb")
        assert commit_ingest(self.settings)

    def build(self, days: Days = DAYS) -> str:
        branch = publication.prepare(self.settings, days)
        assert branch
        Batch(self.spark, LakeFiles.of(self.settings, branch)).run(days)
        publication.commit_build(self.settings, branch, days, missing=lambda _: MISSING)
        return branch

    def publish(self, branch: str) -> publication.Published:
        publication.require_passed(publication.audit(self.settings, branch, DAYS), branch, DAYS)
        made = publication.publish(self.settings, branch, DAYS)
        daily_tables.load(self.settings, made.commit_id)
        return made

    def read(self, branch: str, path: str) -> bytes:
        with repository(self.settings).ref(branch).object(path).reader(mode="rb") as stream:
            return bytes(stream.read())

    def tree(self, ref: str) -> dict[str, str]:
        return {entry.path: entry.checksum for entry in repository(self.settings).ref(ref).objects()}

    def rows(self) -> dict[str, list[tuple[Any, ...]]]:
        """Return PostgreSQL's tables with the transaction that last wrote each row."""
        with psycopg.connect(self.settings.database_dsn("reader")) as connection:
            return {
                table: connection.execute(f"SELECT xmin::text, * FROM gold.{table} ORDER BY 2, 3, 4").fetchall()  # noqa: S608
                for table in daily_tables.TABLES
            }


@pytest.fixture(scope="module")
def lake(spark: SparkSession) -> Iterator[Lake]:
    """Return a lake of its own with both days published."""
    with own_home() as home:
        made = Lake(Stack(home).up("lake_gate", "postgres"), spark)
        made.ingest(market(), 0)
        made.publish(made.build())
        yield made


def without_xmin(rows: dict[str, list[tuple[Any, ...]]]) -> dict[str, list[tuple[Any, ...]]]:
    return {table: [row[1:] for row in found] for table, found in rows.items()}


def test_main_is_one_audited_merge_with_one_tag_per_day(lake: Lake) -> None:
    newest = repository(lake.settings).ref(MAIN).get_commit()
    assert newest.metadata["audit.ok"] == "true"
    assert len(newest.parents) == 2
    assert {tag.id: tag.get_commit().id for tag in repository(lake.settings).tags()} == {
        "daily-2024-08-08": newest.id,
        "daily-2024-08-09": newest.id,
    }
    site = lake.settings.home / "data_docs" / newest.metadata["audit.report"].split("/")[-2]
    assert (site / "index.html").exists()
    assert json.loads((site / "report.json").read_text())["ok"] is True
    lineage = lake.settings.home / "data_docs" / "lineage" / f"{newest.id[:16]}.html"
    assert "crypto.trades" in lineage.read_text()
    assert f"lineage/{lineage.name}" in (lake.settings.home / "data_docs" / "index.html").read_text()
    pages = [page.read_text() for page in site.rglob("*.html")]
    assert len([page for page in pages if "low &lt;= open, close &lt;= high" in page or "low <= open" in page]) >= 1
    assert [page for page in pages if 'src="http' in page or '<link rel="stylesheet" href="http' in page] == []


def test_days_of_ingest_and_main_are_known_by_their_folders(lake: Lake) -> None:
    both = {THE_8TH, THE_9TH}
    assert days_on(lake.settings, INGEST, INGEST_TRADES) == both
    assert days_on(lake.settings, MAIN, MAIN_TRADES) == both
    assert missed_days(both, both - {THE_8TH}, THE_9TH) == [THE_8TH]


def test_a_published_table_is_traced_back_to_the_offsets_of_its_trades(lake: Lake) -> None:
    node = table_lineage(lake.settings, "candles_1d", MAIN)

    chain = [node]
    while chain[-1].parents:
        chain.append(chain[-1].parents[0])
    assert [one.run and one.run.job for one in chain] == [PUBLISH_JOB, BUILD_JOB, INGEST_JOB, None]
    assert [one.data.name for one in chain] == ["gold/candles_1d"] * 2 + ["bronze/trades", "crypto.trades"]
    assert chain[0].data.version == head(lake.settings, MAIN)
    assert chain[1].run
    assert chain[1].run.days == DAYS
    rows = sum(end - first for first, end in chain[-1].data.offsets.values())
    assert rows == len(market())

    (events,) = (lake.settings.home / "lineage").iterdir()
    events.rename(events.with_suffix(".away"))
    try:
        of_ingest = table_lineage(lake.settings, "bronze/trades", INGEST)
        with pytest.raises(ConfigurationError, match="No recorded run"):
            table_lineage(lake.settings, "candles_1d", MAIN)
    finally:
        events.with_suffix(".away").rename(events)
    assert of_ingest.parents[0].data.name == "crypto.trades", "the commit itself says what it read"


def test_gold_and_postgres_equal_the_expected_candles(lake: Lake) -> None:
    found = gold.check(connect(lake.settings, MAIN), market(), limit=3)
    assert {name: verdict.examples for name, verdict in found.items() if not verdict.ok} == {}
    days = gold.expected(market(), "1d")
    stored = {(row[1], row[2], int(row[4].timestamp()) * 10**6): row for row in lake.rows()["candles_1d"]}
    assert stored.keys() == days.keys()
    assert {key: row[9] for key, row in stored.items()} == {
        key: Decimal(candle.volume).scaleb(-8) for key, candle in days.items()
    }


def test_a_second_run_and_a_retried_task_change_nothing(lake: Lake) -> None:
    before, rows, tags = head(lake.settings, MAIN), lake.rows(), len(list(repository(lake.settings).tags()))
    branch = lake.build()
    with ThreadPoolExecutor(2) as pool:
        made = [future.result() for future in [pool.submit(lake.publish, branch) for _ in range(2)]]

    assert {one.commit_id for one in made} == {before} == {head(lake.settings, MAIN)}
    assert lake.rows() == rows
    assert len(list(repository(lake.settings).tags())) == tags


def rewritten(lake: Lake, branch: str, path: str, change: Callable[[pa.Table], pa.Table]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(change(pq.read_table(io.BytesIO(lake.read(branch, path)))), sink)
    return sink.getvalue()


def with_column(table: pa.Table, name: str, values: list[Any]) -> pa.Table:
    place = table.schema.get_field_index(name)
    return table.set_column(place, table.schema.field(place), pa.array(values, table.schema.field(place).type))


def lose_trades(table: pa.Table) -> pa.Table:
    return table.slice(3)


def repeat_trades(table: pa.Table) -> pa.Table:
    return pa.concat_tables([table, table.slice(0, 2)])


def swap_high_and_low(table: pa.Table) -> pa.Table:
    highs, lows = table["high"].to_pylist(), table["low"].to_pylist()
    return with_column(with_column(table, "high", lows), "low", highs)


def add_volume(table: pa.Table) -> pa.Table:
    values = table["volume"].to_pylist()
    return with_column(table, "volume", [values[0] + Decimal("0.00000001"), *values[1:]])


def jump(table: pa.Table) -> pa.Table:
    values = table["close"].to_pylist()
    return with_column(table, "close", [*values[:1], values[1] * 9, *values[2:]])


SILVER = "silver/trades/date=2024-08-09/hour=00/part-0.parquet"
MINUTES = "gold/candles_1m/date=2024-08-09/part-0.parquet"
CORRUPTIONS = [
    (SILVER, lose_trades, "silver: every event of bronze is in silver"),
    (SILVER, repeat_trades, "silver: each event once"),
    (MINUTES, swap_high_and_low, "candles: low <= open, close <= high"),
    ("gold/candles_1d/date=2024-08-09/part-0.parquet", add_volume, "candles: volume = sum of quantities"),
    (MINUTES, jump, "candles: no price moves by more than half within a minute"),
]


def test_five_corruptions_stop_the_publication_and_the_report_names_the_law(lake: Lake) -> None:
    lake.ingest(LATER, 1)
    branch, before = lake.build(), head(lake.settings, MAIN)
    target = repository(lake.settings).branch(branch)
    for path, change, law in CORRUPTIONS:
        good = lake.read(branch, path)
        target.object(path).upload(rewritten(lake, branch, path, change), mode="wb")
        target.commit(f"corrupt by {change.__name__}")
        with pytest.raises(AuditFailed) as failed:
            publication.require_passed(publication.audit(lake.settings, branch, DAYS), branch, DAYS)
        assert failed.value.report == target.get_commit().metadata["audit.report"]
        assert any(law in line for line in failed.value.broken), change.__name__
        assert law in str(failed.value), change.__name__
        with pytest.raises(AuditMissing):
            publication.publish(lake.settings, branch, DAYS)
        assert head(lake.settings, MAIN) == before
        assert target.get_commit().metadata["audit.ok"] == "false"
        target.object(path).upload(good, mode="wb")
        target.commit(f"repair {path}")


def test_after_the_fix_the_next_run_publishes_and_a_rollback_takes_it_back(lake: Lake) -> None:
    published, tables = head(lake.settings, MAIN), without_xmin(lake.rows())
    made = lake.publish(lake.build())

    assert head(lake.settings, MAIN) == made.commit_id != published
    assert made.tags == ["daily-2024-08-08-2", "daily-2024-08-09-2"]
    assert without_xmin(lake.rows()) != tables
    found = gold.check(connect(lake.settings, MAIN), [*market(), *LATER], limit=3)
    assert all(verdict.ok for verdict in found.values())

    planned = preview(lake.settings, "daily-2024-08-08")
    assert [one.commit_id for one in planned.undone] == [made.commit_id]
    assert planned.days == (THE_9TH,)
    assert planned.rows_removed - planned.rows_restored == len(LATER)
    assert head(lake.settings, MAIN) == made.commit_id, "a preview moves nothing"
    back = rollback(lake.settings, "daily-2024-08-08")
    assert preview(lake.settings, "daily-2024-08-08").undone == ()
    daily_tables.load(lake.settings, back)
    assert lake.tree(MAIN) == lake.tree(published)
    assert without_xmin(lake.rows()) == tables
    assert pc.sum(pa.array([len(rows) for rows in tables.values()])).as_py() > 0


# Airflow reads its configuration at import, so the DAG runs in its own process on its own database.
RUN_DAG = """
import json, sys
from airflow.utils.db import initdb
initdb()
from airflow.dag_processing.dagbag import DagBag
dag = DagBag(sys.argv[1]).dags[sys.argv[2]]
dag.deadline = None  # Airflow 3.3 cannot read a deadline back from SQLite: it binds text as a UUID
print(dag.test(run_conf=json.loads(sys.argv[3])).state)
"""


def run_dag(folder: Path, dag_id: str, conf: dict[str, str]) -> str:
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(folder),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder}/airflow.db",
        "AIRFLOW__CORE__DAGS_FOLDER": str(REPO / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "PYTHONPATH": str(REPO),
    }
    command = [sys.executable, "-W", "ignore", "-c", RUN_DAG, str(REPO / "dags"), dag_id, json.dumps(conf)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.splitlines()[-1]


def test_a_rollback_by_dag_moves_main_and_tables_and_the_months_hash(lake: Lake, tmp_path: Path) -> None:
    """Undo the rollback of the test before: the publication that it took back is restored."""
    tag, month = "daily-2024-08-08-2", THE_8TH.replace(day=1)
    before = lake.rows()
    assert run_dag(tmp_path, "lake_rollback", {"to": tag, "reason": "the rollback was wrong"}) == "success"

    assert lake.tree(MAIN) == lake.tree(tag)
    assert repository(lake.settings).ref(MAIN).get_commit().metadata["rollback.reason"] == "the rollback was wrong"
    hashes = [table_hash(published(LakeFiles.of(lake.settings, ref), month)) for ref in (MAIN, tag, "daily-2024-08-08")]
    assert hashes[0] == hashes[1] != hashes[2]
    wanted = gold.expected([*market(), *LATER], "1d")
    assert sum(row[9] for row in lake.rows()["candles_1d"]) == sum(
        Decimal(candle.volume).scaleb(-8) for candle in wanted.values()
    )
    assert without_xmin(lake.rows()) != without_xmin(before)


def test_an_audit_of_another_day_keeps_a_failed_verdict_and_its_page(lake: Lake) -> None:
    """The 9th is damaged; the 10th, whose ids follow those of the 9th, is not."""
    the_10th = THE_9TH + ONE_DAY
    midnight_us = MIDNIGHT_US + 86_400_000_000
    lake.ingest([trade(n, midnight_us + (n - 1_009) * 60_000_000, 61_000_00000000, 7) for n in range(1_010, 1_030)], 2)
    branch, before = lake.build(Days(THE_9TH, the_10th)), head(lake.settings, MAIN)
    target = repository(lake.settings).branch(branch)
    target.object(MINUTES).upload(rewritten(lake, branch, MINUTES, swap_high_and_low), mode="wb")
    damaged = target.commit("damage the 9th").id
    failed = publication.audit(lake.settings, branch, Days(THE_9TH, THE_9TH))
    passed = publication.audit(lake.settings, branch, Days(the_10th, the_10th))

    assert (failed.verdict, passed.verdict) == ("failed", "passed"), passed.broken
    assert failed.commit_id == passed.commit_id == damaged
    sites = [lake.settings.home / "data_docs" / one.url.split("/")[-2] for one in (failed, passed)]
    assert [json.loads((site / "report.json").read_text())["ok"] for site in sites] == [False, True]
    assert sites[0].name in (sites[1] / "index.html").read_text()
    with pytest.raises(AuditMissing, match="the newest audit of 2024-08-09 failed"):
        publication.publish(lake.settings, branch, Days(the_10th, the_10th))
    assert head(lake.settings, MAIN) == before
