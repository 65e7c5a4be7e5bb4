"""The batch over a lake in a local folder, compared with candles that the checker computes."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pyarrow.fs import LocalFileSystem
from pyspark.sql import SparkSession

from common.days import Days
from common.errors import ConfigurationError
from spark.batch.files import LakeFiles
from spark.batch.job import Batch, parse
from tests.lakes import NOON_US, THE_8TH, THE_9TH, bronze_files, contents, market, rows_of, trade, write
from tickhouse.checks.reconcile import gold
from tickhouse.checks.reconcile.lake_bronze import LakeReader


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory, spark: SparkSession) -> Path:
    """A lake whose two days were built in one run."""
    folder = tmp_path_factory.mktemp("lake")
    rows = rows_of(market())
    write(folder, bronze_files([*rows, *(row | {"kafka_offset": 9_000 + n} for n, row in enumerate(rows[:50]))]))
    # A file that no manifest names, as a killed batch leaves it.
    stray = bronze_files(rows_of([trade(7_777, NOON_US + 11 * 3_600_000_000)], 10_000), 1)
    write(folder, {path: body for path, body in stray.items() if "_manifests" not in path})
    run(spark, folder, THE_8TH, THE_9TH)
    return folder


def run(spark: SparkSession, folder: Path, first: date, last: date) -> dict[str, int]:
    return Batch(spark, LakeFiles.local(folder)).run(Days(first, last))


def test_gold_equals_the_expected_candles(lake: Path) -> None:
    found = gold.check(LakeReader(LocalFileSystem(), str(lake)), market(), limit=3)

    assert {name: verdict.examples for name, verdict in found.items() if not verdict.ok} == {}
    assert all(verdict.count for verdict in found.values())


def test_silver_holds_each_event_once(lake: Path) -> None:
    silver = pq.read_table(lake / "silver" / "trades", partitioning=None)

    assert sorted(silver["event_id"].to_pylist()) == sorted(trade.event_id for trade in market())
    assert sum(silver["is_sentinel"].to_pylist()) == 1


def test_day_by_day_gives_the_same_bytes_and_removes_other_files(spark: SparkSession, lake: Path) -> None:
    before = contents(lake)
    write(lake, {"silver/trades/date=2024-08-09/hour=23/part-0.parquet": b"of an earlier run"})
    counts = run(spark, lake, THE_8TH, THE_8TH)
    run(spark, lake, THE_9TH, THE_9TH)

    assert counts["gold/monthly"] == 2
    after = contents(lake)
    assert [path for path in after.keys() | before.keys() if after.get(path) != before.get(path)] == []


def test_days_without_trades_are_refused(spark: SparkSession, lake: Path) -> None:
    before = contents(lake)
    with pytest.raises(ConfigurationError, match="no trade from 2024-08-10"):
        run(spark, lake, date(2024, 8, 10), date(2024, 8, 11))
    assert contents(lake) == before


def test_command_lines() -> None:
    assert parse(["--ref", "x", "--date", "2024-08-08"]) == ("x", Days(THE_8TH, THE_8TH))
    assert parse(["--ref", "x", "--from", "2024-08-08", "--to", "2024-08-09"]) == ("x", Days(THE_8TH, THE_9TH))
    for wrong in ([], ["--from", "2024-08-09", "--to", "2024-08-08"], ["--from", "2024-08-08"]):
        with pytest.raises(ConfigurationError, match="Expected --date"):
            parse(["--ref", "x", *wrong])


def test_long_ranges_go_in_passes() -> None:
    parts = list(Days(date(2024, 1, 1), date(2024, 3, 5)).passes(30))
    assert [(str(part.first), str(part.last)) for part in parts] == [
        ("2024-01-01", "2024-01-30"), ("2024-01-31", "2024-02-29"), ("2024-03-01", "2024-03-05"),
    ]  # fmt: skip
    assert [str(month) for month in Days(date(2024, 1, 31), date(2024, 3, 1)).months()] == [
        "2024-01-01", "2024-02-01", "2024-03-01",
    ]  # fmt: skip
