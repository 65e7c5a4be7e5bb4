"""Gold of real captures equals Binance's own klines and those of a peer; needs the shared data."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from common.days import Days
from common.settings import REPO
from spark.batch.files import LakeFiles
from spark.batch.job import Batch
from tests.lakes import bronze_files, rows_of, write
from tickhouse.checks.reconcile.json_records import Source
from tickhouse.checks.reconcile.model import CheckedTrade
from tickhouse.checks.reconcile.replayed_files import items

DATA = Path(os.environ.get("TICKHOUSE_SHARED_DATA", REPO.parent / "shared" / "data"))
pytestmark = pytest.mark.skipif(
    not (DATA / "SUMMARY.json").exists(),
    reason=f"no real captures in {DATA}: set TICKHOUSE_SHARED_DATA to their folder",
)


def trades_of(name: str, market: str, symbol: str = "") -> list[CheckedTrade]:
    return [one for one in items(DATA / name, Source(market, symbol)) if isinstance(one, CheckedTrade)]


@pytest.fixture(scope="module")
def lake(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two captures of different years in one lake: a day of USD-M and a whole day of spot."""
    folder = tmp_path_factory.mktemp("real")
    captures: list[tuple[Iterable[CheckedTrade], date]] = [
        (trades_of("rest/ft_XRPETH_aggTrades_20191011.jsonl.gz", "spot", "XRPETH"), date(2019, 10, 11)),
        (trades_of("ws/hft_usdm_btcusdt_20240808.txt.gz", "usdm"), date(2024, 8, 8)),
    ]
    for number, (trades, _) in enumerate(captures):
        write(folder, bronze_files(rows_of(trades, number * 1_000_000), number))
    batch = Batch(spark, LakeFiles.local(folder))
    for _, day in captures:
        batch.run(Days(day, day))
    return folder


def candles(folder: Path, interval: str, day: str, symbol: str) -> dict[int, dict[str, Any]]:
    rows = pq.read_table(folder / f"gold/candles_{interval}/date={day}/part-0.parquet", partitioning=None).to_pylist()
    found = [row for row in rows if row["symbol"] == symbol]
    return {int(row["open_time"].timestamp()) * 1000: row for row in found}


def lines(name: str) -> list[dict[str, str]]:
    with (DATA / "klines" / name).open() as stream:
        return list(csv.DictReader(stream))


def test_usdm_minutes_equal_binances_own_in_all_nine_columns(lake: Path) -> None:
    stored = candles(lake, "1m", "2024-08-08", "BTCUSDT")
    exact = ("open", "high", "low", "close", "volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume")
    klines = lines("usdm_BTCUSDT-1m-2024-08-08T2355.csv")
    assert len(klines) == 5
    for kline in klines:
        candle = stored[int(kline["open_time"])]
        assert {name: candle[name] for name in exact} == {name: Decimal(kline[name]) for name in exact}
        assert candle["trades"] == int(kline["count"])


@pytest.mark.parametrize(("interval", "traded", "all_"), [("1m", 1022, 1440), ("5m", 287, 288)])
def test_a_whole_day_equals_the_peers_and_silent_minutes_are_flat(
    lake: Path, interval: str, traded: int, all_: int
) -> None:
    stored = candles(lake, interval, "2019-10-11", "XRPETH")
    klines = {int(row["open_time"]): row for row in lines(f"ft_XRPETH-{interval}-20191011.csv")}
    names = ("open", "high", "low", "close", "volume")
    assert (len(klines), len(stored)) == (traded, all_)
    assert {at: [row[name] for name in names] for at, row in stored.items() if row["agg_trades"]} == {
        at: [Decimal(row[name]) for name in names] for at, row in klines.items()
    }
    before = Decimal(0)
    for _, row in sorted(stored.items()):
        if not row["agg_trades"]:
            assert [row[name] for name in names] == [before] * 4 + [0]
        before = row["close"]


def test_the_later_capture_completed_the_earlier_day(lake: Path) -> None:
    stored = candles(lake, "1m", "2019-10-11", "XRPETH")
    first, last = min(stored), max(stored)
    assert timedelta(milliseconds=last - first) == timedelta(minutes=1439)
