"""Compare the readers of offered events with real captures and Binance's own candles.

The tests are skipped when the shared data is not present.
"""

from __future__ import annotations

import csv
import json
import os
from decimal import Decimal
from pathlib import Path

import pytest

from common.settings import REPO
from tests.unit.tickhouse.test_candles import candle_of
from tickhouse.candles import INTERVALS_MS, aggregated
from tickhouse.checks.reconcile.bars import bars_of
from tickhouse.checks.reconcile.json_records import Source
from tickhouse.checks.reconcile.model import plain
from tickhouse.checks.reconcile.offered_events import OfferedEvents
from tickhouse.checks.reconcile.replayed_files import items

DATA = Path(os.environ.get("TICKHOUSE_SHARED_DATA", REPO.parent / "shared" / "data"))
pytestmark = pytest.mark.skipif(
    not (DATA / "SUMMARY.json").exists(),
    reason=f"no real captures in {DATA}: set TICKHOUSE_SHARED_DATA to their folder",
)
SUMMARY = json.loads((DATA / "SUMMARY.json").read_text()) if (DATA / "SUMMARY.json").exists() else []


def truth_of(name, market, symbol=""):
    truth = OfferedEvents()
    truth.add_all(items(DATA / name, Source(market, symbol)), name)
    return truth


def trades_of(truth):
    return [one for trades in truth.trades.values() for one in trades.values()]


@pytest.mark.parametrize("entry", SUMMARY, ids=lambda entry: entry["file"])
def test_each_capture_matches_its_summary(entry):
    market = "usdm" if "usdm" in entry["path"] or "FUTURES" in entry["path"] else "spot"
    truth = truth_of(entry["path"], market, next(iter(entry["symbols"])))
    conflicts = [one for one in truth.rejections if one.reason == "conflict"]
    assert len(conflicts) == len(truth.rejections) == entry["repeated_ids"]
    assert truth.count + len(conflicts) == entry["records"]
    for key, trades in truth.trades.items():
        wanted = entry["symbols"][key.symbol]
        assert (min(trades), max(trades)) == (wanted["first_id"], wanted["last_id"])
        times = [one.time_us for one in trades.values()]
        assert (min(times), max(times)) == (wanted["t_first_us"], wanted["t_last_us"])
    assert len(bars_of(trades_of(truth))) == entry["bars_1m"]
    ticks = entry.get("lines_by_stream", {}).get("bookTicker", 0)
    assert sum(map(len, truth.ticks.values())) + truth.tick_repeats == ticks


def test_bars_of_usdm_trades_equal_binances_own_in_all_nine_columns():
    bars = bars_of(trades_of(truth_of("ws/hft_usdm_btcusdt_20240808.txt.gz", "usdm")))
    by_minute = {minute: bar for (_, minute), bar in bars.items()}
    with (DATA / "klines" / "usdm_BTCUSDT-1m-2024-08-08T2355.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 5
    for row in rows:
        candle = candle_of(by_minute[int(row["open_time"]) * 1000])
        for name in (
            "open",
            "high",
            "low",
            "close",
            "volume",
            "quote_volume",
            "taker_buy_volume",
            "taker_buy_quote_volume",
        ):
            assert getattr(candle, name) == Decimal(row[name]), (row["open_time"], name)
        assert candle.trades == int(row["count"])


@pytest.mark.parametrize(("interval", "count"), [("1m", 1022), ("5m", 287)])
def test_bars_of_a_whole_day_of_rest_trades_equal_freqtrades(interval, count):
    bars = bars_of(trades_of(truth_of("rest/ft_XRPETH_aggTrades_20191011.jsonl.gz", "spot", "XRPETH")))
    minutes = [candle_of(bar) for _, bar in sorted(bars.items(), key=lambda found: found[0][1])]
    found = list(aggregated(minutes, INTERVALS_MS[interval]))
    with (DATA / "klines" / f"ft_XRPETH-{interval}-20191011.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == len(found) == count
    for row, candle in zip(rows, found, strict=True):
        names = ("open", "high", "low", "close", "volume")
        assert candle.open_time_ms == int(row["open_time"])
        assert [getattr(candle, name) for name in names] == [Decimal(row[name]) for name in names]


def test_the_first_minute_of_the_archive_has_binances_count_of_trades():
    truth = truth_of("archive/eq_BTCUSDT-aggTrades-2026-01-01_part1.csv", "spot", "BTCUSDT")
    bar = min(bars_of(trades_of(truth)).values(), key=lambda one: one.open_time_us)
    assert [plain(value) for value in (bar.open, bar.high, bar.low, bar.close)] == [
        "87648.21000000", "87648.22000000", "87632.74000000", "87648.00000000",
    ]  # fmt: skip
    assert bar.trades == 1193


def test_the_faulty_capture_has_one_conflict_and_one_hole():
    truth = truth_of("faults/dl_spot_trxusdt_20250304_negative.csv.gz", "spot")
    assert [one.key for one in truth.rejections] == ["binance:spot:TRXUSDT:trade:348656871"]
    ids = set(next(iter(truth.trades.values())))
    assert set(range(min(ids), max(ids) + 1)) - ids == {348656872}
