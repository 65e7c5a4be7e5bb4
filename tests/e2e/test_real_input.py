"""Real captures of Binance through the whole pipeline, held against Binance's own candles.

The tests run in this order on one lakehouse: the captures are replayed once, then weighed from many sides.
"""

from __future__ import annotations

import csv
import os
import subprocess
from decimal import ROUND_DOWN, Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Stack
from tests.e2e.lakehouse import (
    TICKHOUSE,
    assert_conserved,
    await_stream,
    bronze,
    candle_rows,
    latest_hashes,
    manifests,
    most_common,
    offered_offsets,
    tickhouse,
    until,
)
from tickhouse.demo.run import commit_lake
from tickhouse.settings import REPO, Settings

DATA = Path(os.environ.get("TICKHOUSE_SHARED_DATA", REPO.parent / "shared" / "data"))
USDM = DATA / "ws" / "hft_usdm_btcusdt_20240808.txt.gz"
FUTURES = DATA / "ws" / "cf_BINANCE_FUTURES.ws.txt.gz"
SPOT_8TH = DATA / "ws" / "hft_spot_btcusdt_20240808.txt.gz"
SPOT_9TH = DATA / "ws" / "hft_spot_btcusdt_20240809.txt.gz"
SPOT_2021 = DATA / "ws" / "cf_BINANCE.ws.txt.gz"
ARCHIVE = DATA / "archive" / "eq_BTCUSDT-aggTrades-2026-01-01_part1.csv"
XRPETH = DATA / "rest" / "ft_XRPETH_aggTrades_20191011.jsonl.gz"
USDM_KLINES = DATA / "klines" / "usdm_BTCUSDT-1m-2024-08-08T2355.csv"
XRPETH_BARS = DATA / "klines" / "ft_XRPETH-1m-20191011.csv"

USDM_TRADES = 21_313
LOST = [
    str(path.relative_to(DATA))
    for path in (USDM, FUTURES, SPOT_8TH, SPOT_9TH, SPOT_2021, ARCHIVE, XRPETH, USDM_KLINES, XRPETH_BARS)
    if not path.exists()
]

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        bool(LOST), reason=f"{DATA} lacks {', '.join(LOST)}: set TICKHOUSE_SHARED_DATA to the folder of captures"
    ),
]

# Names of a candle's figures: ours, and Binance's in the archive of klines.
NINE = {
    "open_time_ms": "open_time", "open": "open", "high": "high", "low": "low", "close": "close", "volume": "volume",
    "quote_volume": "quote_volume", "trades": "count", "taker_buy_volume": "taker_buy_volume",
    "taker_buy_quote_volume": "taker_buy_quote_volume",
}  # fmt: skip

Document = dict[str, Any]


@pytest.fixture(scope="module")
def settings(stack: Stack) -> Settings:
    settings = stack.up()
    await_stream(settings)
    return settings


def replay_until_killed(settings: Settings) -> int:
    """Kill a replay (-9) when a part of the capture is in Kafka; return how many records that was."""
    with subprocess.Popen([TICKHOUSE, "replay", str(USDM), "--market", "usdm"], stderr=subprocess.DEVNULL) as replay:
        try:
            until("records in crypto.trades", lambda: offered_offsets(settings), 60.0)
        finally:
            replay.kill()
    assert replay.returncode == -9
    return offered_offsets(settings)


@pytest.fixture(scope="module")
def replayed(settings: Settings) -> Document:
    """Replay every capture; the first one is killed on its way and started again.

    Returns the documents of the replays' files by file name, and under `cut_after` how far the killed one came.
    """
    cut_after = replay_until_killed(settings)
    spot = (SPOT_8TH, SPOT_9TH, XRPETH, ARCHIVE, SPOT_2021)
    runs = [
        tickhouse("replay", USDM, FUTURES, "--market", "usdm", "--no-wait"),
        tickhouse("replay", *spot, "--market", "spot"),
        tickhouse("replay", USDM, FUTURES, "--market", "usdm"),  # sends nothing, waits for the stores
    ]
    files = {Path(file["path"]).name: file for run in reversed(runs) for file in run["files"]}
    return {"files": files, "cut_after": cut_after, "visible_after_s": [run["visible_after_s"] for run in runs]}


def klines(path: Path, columns: dict[str, str]) -> list[dict[str, Decimal]]:
    with path.open(newline="") as stream:
        return [{ours: Decimal(row[theirs]) for ours, theirs in columns.items()} for row in csv.DictReader(stream)]


def candles(market: str, symbol: str, start: str, end: str, columns: dict[str, str]) -> list[dict[str, Decimal]]:
    found = tickhouse("candles", "--market", market, "--symbol", symbol, "--from", start, "--to", end)
    return [{name: Decimal(candle[name]) for name in columns} for candle in found]


def test_killed_replay_goes_on_where_it_was_cut(replayed: Document) -> None:
    usdm = replayed["files"][USDM.name]

    assert replayed["cut_after"] > 0
    assert usdm["is_whole"]
    assert usdm["sent_earlier"] > 0
    assert usdm["sent"] > 0
    assert sum(high - low + 1 for low, high in usdm["delivered"][0]["ranges"]) == USDM_TRADES


def test_usdm_candles_equal_binances_own_in_all_nine_columns(replayed: Document) -> None:
    ours = candles("usdm", "BTCUSDT", "2024-08-08T23:55:00", "2024-08-09T00:00:00", NINE)

    assert len(ours) == 5
    assert ours == klines(USDM_KLINES, NINE)


def test_xrpeth_candles_equal_freqtrades(replayed: Document) -> None:
    columns = {"open_time_ms": "open_time"} | {name: name for name in ("open", "high", "low", "close", "volume")}
    ours = candles("spot", "XRPETH", "2019-10-11", "2019-10-12", columns)

    assert len(ours) == 1_022
    assert ours == klines(XRPETH_BARS, columns)


def test_spot_trades_are_in_the_lake_once_on_the_day_they_happened(replayed: Document, settings: Settings) -> None:
    rows = [row for row in bronze(settings) if (row.market, row.symbol, row.stream) == ("spot", "BTCUSDT", "trade")]
    ids = [row.event_id for row in rows]

    assert most_common(ids)[1] == 1
    # one run of ids over both files: nothing lost
    assert set(ids) == {f"binance:spot:BTCUSDT:trade:{number}" for number in range(3_735_683_259, 3_735_703_163)}
    assert len(ids) == 19_904
    assert sum(row.date == "2024-08-08" for row in rows) == 9_738


def test_archive_in_microseconds_falls_into_the_right_minute(replayed: Document) -> None:
    found = tickhouse(
        "candles", "--market", "spot", "--symbol", "BTCUSDT", "--from", "2026-01-01", "--to", "2026-01-01T00:01"
    )
    two = {name: Decimal(value).quantize(Decimal("0.01"), ROUND_DOWN) for name, value in found[0].items()}

    assert len(found) == 1
    assert found[0]["open_time_ms"] == 1_767_225_600_000
    assert found[0]["trades"] == 1_193
    assert [found[0][name] for name in ("open", "high", "low", "close")] == [
        *("87648.21000000", "87648.22000000", "87632.74000000", "87648.00000000")
    ]
    # Binance's figures are known to two decimals
    volumes = ("volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume")
    assert [str(two[name]) for name in volumes] == ["4.08", "357625.77", "1.79", "157651.51"]


@pytest.mark.parametrize(
    ("file", "trades", "ignored"),
    [(SPOT_2021, {"NKNUSDT": 1, "LRCBTC": 1}, 177 + 2),
     (FUTURES, {"CTKUSDT": 38, "AKROUSDT": 8, "SUSHIUSDT": 40, "KEEPUSDT": 5}, 764 + 67)],
    ids=["spot", "usdm"],
)  # fmt: skip
def test_every_frame_of_a_mixed_connection_is_accounted_for(
    replayed: Document, file: Path, trades: dict[str, int], ignored: int
) -> None:
    told = replayed["files"][file.name]
    delivered = {
        part["symbol"]: sum(high - low + 1 for low, high in part["ranges"])
        for part in told["delivered"] if part["stream"] == "aggTrade"
    }  # fmt: skip

    assert delivered == trades
    assert told["counts"]["rejected"] == 0
    assert told["counts"]["ignored"] == ignored  # depth and klines


def test_replaying_again_changes_nothing(replayed: Document, settings: Settings) -> None:
    def everything() -> tuple[object, ...]:
        stores = candle_rows(settings), latest_hashes(settings), sorted(manifests(settings))
        return (offered_offsets(settings), *stores)

    before = everything()
    told = tickhouse("replay", SPOT_8TH, "--market", "spot")["files"][0]

    assert told["sent"] == 0
    assert everything() == before


def test_sending_again_on_purpose_leaves_one_of_each(replayed: Document, settings: Settings) -> None:
    candles_before, records_before = candle_rows(settings), offered_offsets(settings)
    told = tickhouse("replay", ARCHIVE, "--market", "spot", "--again")["files"][0]

    assert told["sent"] == 1_639
    assert offered_offsets(settings) == records_before + 1_639
    assert candle_rows(settings) == candles_before


def test_airflow_commits_what_the_stream_wrote(replayed: Document, settings: Settings) -> None:
    commit = commit_lake(settings)
    status = tickhouse("status")

    assert commit["metadata"]["kafka_offsets"]
    assert status["pipeline"]["lake"]["commit"] == commit["id"]


def test_status_says_what_the_reference_promises(replayed: Document, settings: Settings) -> None:
    status = tickhouse("status")
    services = {one["name"]: one for one in status["services"]}

    assert status["home"] == str(settings.home)
    keys = {"state", "health", "is_external", "pids", "memory_mb", "expected_memory_mb", "uptime_s", "ports"}
    assert all(keys <= set(one) for one in services.values())
    core = ("kafka", "registry", "connect", "postgres", "redis", "lakefs", "airflow")
    assert {name: services[name]["health"] for name in core} == dict.fromkeys(core, "ready")
    pipeline = status["pipeline"]
    assert pipeline["kafka"]["records"]["crypto.trades"] == offered_offsets(settings)
    lags = pipeline["kafka"]["lag_records"]
    assert {f"stream:{name}" for name in ("candles", "last", "enriched", "lake_trades", "lake_ticks")} <= set(lags)
    assert pipeline["candles"]["rows"] == len(candle_rows(settings))
    assert pipeline["latest"]["streams"] == len(latest_hashes(settings))
    assert set(pipeline["lake"]) >= {"branch", "commit", "age_s", "message", "rows"}


def test_explain_follows_one_event_through_every_system(replayed: Document) -> None:
    last_of_the_8th = "binance:spot:BTCUSDT:trade:3735692996"
    told = tickhouse("explain", last_of_the_8th)

    assert told["event_id"] == last_of_the_8th
    assert told["found"]
    assert told["unavailable"] == {}
    systems = told["systems"]
    assert [copy["price"] for copy in systems["kafka"]] == ["61685.99000000"]
    assert len(systems["enriched"]) >= 1
    assert [file["path"].split("/")[2] for file in systems["lake"]] == ["date=2024-08-08"]
    assert systems["lake"][0]["first_commit"]["commit"]
    assert systems["postgres"]["is_applied"]
    assert systems["postgres"]["bar"]["close_trade_id"] == 3_735_692_996
    assert not systems["redis"]["is_latest"]
    assert systems["dlq.producer"] == []


def test_every_store_holds_what_was_offered(replayed: Document) -> None:
    report = tickhouse("reconcile", "--wait", "60")

    assert_conserved(report)
    assert report["stores"]["kafka"]["distinct"] == USDM_TRADES + 19_904 + 5_929 + 1_639 + 2 + 91
    assert report["gaps_open"] == 0
    assert report["rejected"] == 0
    assert report["known_duplicates"] >= 1_639
