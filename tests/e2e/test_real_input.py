"""Real captures of Binance through the whole pipeline, compared with Binance's own candles.

The module replays every capture once; each test looks at the result from another side. Other
modules may have brought trades of other streams into the same lakehouse before: totals are compared
with those from before the first replay.
"""

from __future__ import annotations

import csv
import subprocess
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from pathlib import Path
from typing import Any

import pytest

from common.settings import Settings
from tests.conftest import Stack
from tests.e2e.lakehouse import (
    TICKHOUSE,
    assert_conserved,
    await_more_records,
    await_stream,
    bronze,
    candle_rows,
    latest_hashes,
    manifests,
    most_common,
    record_count,
    tickhouse,
)
from tests.shared_files import DATA
from tickhouse.demo.publication import commit_lake

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
ARCHIVE_TRADES = 1_639
ALL_TRADES = USDM_TRADES + 19_904 + 5_929 + ARCHIVE_TRADES + 2 + 91
ABSENT = [
    str(path.relative_to(DATA))
    for path in (USDM, FUTURES, SPOT_8TH, SPOT_9TH, SPOT_2021, ARCHIVE, XRPETH, USDM_KLINES, XRPETH_BARS)
    if not path.exists()
]

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(1200),  # the first test starts the stack and replays every capture
    pytest.mark.skipif(
        bool(ABSENT), reason=f"{DATA} lacks {', '.join(ABSENT)}: set TICKHOUSE_SHARED_DATA to the folder of captures"
    ),
]

# Names of a candle's figures: ours, and Binance's in the archive of klines.
NINE = {
    "open_time_ms": "open_time", "open": "open", "high": "high", "low": "low", "close": "close", "volume": "volume",
    "quote_volume": "quote_volume", "trades": "count", "taker_buy_volume": "taker_buy_volume",
    "taker_buy_quote_volume": "taker_buy_quote_volume",
}  # fmt: skip

Document = dict[str, Any]


@dataclass(frozen=True)
class Replays:
    """The replays of every capture.

    Attributes:
        files: What `tickhouse replay` printed of each file, by file name.
        sent_before_kill: Records of the killed replay that reached Kafka.
        before: What `tickhouse reconcile` printed before the first replay.
    """

    files: dict[str, Document]
    sent_before_kill: int
    before: Document


@pytest.fixture(scope="module")
def settings(stack: Stack) -> Settings:
    settings = stack.up()
    await_stream(settings)
    return settings


def replay_until_killed(settings: Settings) -> int:
    """Kill a replay (-9) when part of the capture is in Kafka; return how many records that is."""
    before = record_count(settings)
    with subprocess.Popen([TICKHOUSE, "replay", str(USDM), "--market", "usdm"], stderr=subprocess.DEVNULL) as replay:
        try:
            await_more_records(settings, before)
        finally:
            replay.kill()
    assert replay.returncode == -9
    return record_count(settings) - before


@pytest.fixture(scope="module")
def replays(settings: Settings) -> Replays:
    """Replay every capture; the first replay is killed on its way and started again."""
    before = tickhouse("reconcile", "--store", "kafka", "--wait", "60")
    sent_before_kill = replay_until_killed(settings)
    spot = (SPOT_8TH, SPOT_9TH, SPOT_2021)
    runs = [
        tickhouse("replay", XRPETH, "--market", "spot", "--symbol", "XRPETH"),
        tickhouse("replay", ARCHIVE, "--market", "spot", "--symbol", "BTCUSDT"),
        tickhouse("replay", USDM, FUTURES, "--market", "usdm", "--no-wait"),
        tickhouse("replay", *spot, "--market", "spot"),
    ]
    tickhouse("replay", USDM, FUTURES, "--market", "usdm")  # sends nothing, waits for the stores
    files = {Path(file["path"]).name: file for run in runs for file in run["files"]}
    return Replays(files, sent_before_kill, before)


@dataclass(frozen=True)
class SentAgain:
    """A replay with `--again` of a file that every store holds already.

    Attributes:
        file: What `tickhouse replay` printed of the file.
        records_added: Records that Kafka holds more than before.
        candles_before: All candles before the replay.
        candles_after: All candles when the stores had taken it.
    """

    file: Document
    records_added: int
    candles_before: list[tuple[Any, ...]]
    candles_after: list[tuple[Any, ...]]


@pytest.fixture(scope="module")
def sent_again(replays: Replays, settings: Settings) -> SentAgain:
    """Send the archive a second time on purpose."""
    candles_before, records_before = candle_rows(settings), record_count(settings)
    printed = tickhouse("replay", ARCHIVE, "--market", "spot", "--symbol", "BTCUSDT", "--again")
    added = record_count(settings) - records_before
    return SentAgain(printed["files"][0], added, candles_before, candle_rows(settings))


def klines(path: Path, columns: dict[str, str]) -> list[dict[str, Decimal]]:
    with path.open(newline="") as stream:
        return [{ours: Decimal(row[theirs]) for ours, theirs in columns.items()} for row in csv.DictReader(stream)]


def candles(market: str, symbol: str, start: str, end: str, columns: dict[str, str]) -> list[dict[str, Decimal]]:
    rows = tickhouse("candles", "--market", market, "--symbol", symbol, "--from", start, "--to", end)
    return [{name: Decimal(candle[name]) for name in columns} for candle in rows]


def test_killed_replay_goes_on_where_it_was_cut(replays: Replays) -> None:
    usdm = replays.files[USDM.name]

    assert replays.sent_before_kill > 0
    assert usdm["is_whole"]
    assert usdm["sent_earlier"] > 0
    assert usdm["sent"] > 0
    assert sum(high - low + 1 for low, high in usdm["delivered"][0]["ranges"]) == USDM_TRADES


def test_usdm_candles_equal_binances_own_in_all_nine_columns(replays: Replays) -> None:
    ours = candles("usdm", "BTCUSDT", "2024-08-08T23:55:00", "2024-08-09T00:00:00", NINE)

    assert len(ours) == 5
    assert ours == klines(USDM_KLINES, NINE)


def test_xrpeth_candles_equal_freqtrades(replays: Replays) -> None:
    columns = {"open_time_ms": "open_time"} | {name: name for name in ("open", "high", "low", "close", "volume")}
    ours = candles("spot", "XRPETH", "2019-10-11", "2019-10-12", columns)

    assert len(ours) == 1_022
    assert ours == klines(XRPETH_BARS, columns)


def test_spot_trades_are_in_the_lake_once_on_the_day_they_happened(replays: Replays, settings: Settings) -> None:
    rows = [row for row in bronze(settings) if (row.market, row.symbol, row.stream) == ("spot", "BTCUSDT", "trade")]
    ids = [row.event_id for row in rows]

    assert most_common(ids)[1] == 1
    # one run of ids over both files: nothing lost
    assert set(ids) == {f"binance:spot:BTCUSDT:trade:{number}" for number in range(3_735_683_259, 3_735_703_163)}
    assert len(ids) == 19_904
    assert sum(row.date == "2024-08-08" for row in rows) == 9_738


def test_archive_in_microseconds_falls_into_the_right_minute(replays: Replays) -> None:
    rows = tickhouse(
        "candles", "--market", "spot", "--symbol", "BTCUSDT", "--from", "2026-01-01", "--to", "2026-01-01T00:01"
    )

    assert len(rows) == 1
    candle = rows[0]
    assert candle["open_time_ms"] == 1_767_225_600_000
    assert candle["trades"] == 1_193
    assert candle["open"] == "87648.21000000"
    assert candle["high"] == "87648.22000000"
    assert candle["low"] == "87632.74000000"
    assert candle["close"] == "87648.00000000"
    # Binance's figures are known to two decimals
    assert two_decimals(candle["volume"]) == "4.08"
    assert two_decimals(candle["quote_volume"]) == "357625.77"
    assert two_decimals(candle["taker_buy_volume"]) == "1.79"
    assert two_decimals(candle["taker_buy_quote_volume"]) == "157651.51"


def two_decimals(text: str) -> str:
    return str(Decimal(text).quantize(Decimal("0.01"), ROUND_DOWN))


@pytest.mark.parametrize(
    ("file", "trades", "ignored"),
    [(SPOT_2021, {"NKNUSDT": 1, "LRCBTC": 1}, 177 + 2),
     (FUTURES, {"CTKUSDT": 38, "AKROUSDT": 8, "SUSHIUSDT": 40, "KEEPUSDT": 5}, 764 + 67)],
    ids=["spot", "usdm"],
)  # fmt: skip
def test_every_frame_of_a_mixed_connection_is_accounted_for(
    replays: Replays, file: Path, trades: dict[str, int], ignored: int
) -> None:
    printed = replays.files[file.name]
    delivered = {
        part["symbol"]: sum(high - low + 1 for low, high in part["ranges"])
        for part in printed["delivered"] if part["stream"] == "aggTrade"
    }  # fmt: skip

    assert delivered == trades
    assert printed["counts"]["rejected"] == 0
    assert printed["counts"]["ignored"] == ignored  # depth and klines


def test_replaying_again_changes_nothing(replays: Replays, settings: Settings) -> None:
    records, rows = record_count(settings), candle_rows(settings)
    hashes, files = latest_hashes(settings), sorted(manifests(settings))

    printed = tickhouse("replay", SPOT_8TH, "--market", "spot")["files"][0]

    assert printed["sent"] == 0
    assert record_count(settings) == records
    assert candle_rows(settings) == rows
    assert latest_hashes(settings) == hashes
    assert sorted(manifests(settings)) == files


def test_sending_again_on_purpose_leaves_one_of_each(sent_again: SentAgain) -> None:
    assert sent_again.file["sent"] == ARCHIVE_TRADES
    assert sent_again.records_added == ARCHIVE_TRADES
    assert sent_again.candles_after == sent_again.candles_before


def test_airflow_commits_what_the_stream_wrote(replays: Replays, settings: Settings) -> None:
    commit = commit_lake(settings)
    status = tickhouse("status")

    assert commit["metadata"]["kafka_offsets"]
    assert status["pipeline"]["lake"]["commit"] == commit["id"]


def test_status_says_what_the_reference_promises(replays: Replays, settings: Settings) -> None:
    status = tickhouse("status")
    services = {service["name"]: service for service in status["services"]}

    assert status["home"] == str(settings.home)
    keys = {"state", "health", "is_external", "pids", "memory_mb", "expected_memory_mb", "uptime_s", "ports"}
    assert all(keys <= set(service) for service in services.values())
    core = ("kafka", "registry", "connect", "postgres", "redis", "lakefs", "airflow")
    assert {name: services[name]["health"] for name in core} == dict.fromkeys(core, "ready")
    pipeline = status["pipeline"]
    assert pipeline["kafka"]["records"]["crypto.trades"] == record_count(settings)
    lags = pipeline["kafka"]["lag_records"]
    assert {f"stream:{name}" for name in ("candles", "last", "enriched", "lake_trades", "lake_ticks")} <= set(lags)
    assert pipeline["candles"]["rows"] == len(candle_rows(settings))
    assert pipeline["latest"]["streams"] == len(latest_hashes(settings))
    assert set(pipeline["lake"]) >= {"branch", "commit", "age_s", "message", "rows"}


def test_explain_follows_one_event_through_every_system(replays: Replays) -> None:
    last_of_the_8th = "binance:spot:BTCUSDT:trade:3735692996"
    printed = tickhouse("explain", last_of_the_8th)

    assert printed["event_id"] == last_of_the_8th
    assert printed["found"]
    assert printed["unavailable"] == {}
    systems = printed["systems"]
    assert [copy["price"] for copy in systems["kafka"]] == ["61685.99000000"]
    assert len(systems["enriched"]) >= 1
    assert [file["path"].split("/")[2] for file in systems["lake"]] == ["date=2024-08-08"]
    assert systems["lake"][0]["first_commit"]["commit"]
    assert systems["postgres"]["is_applied"]
    assert systems["postgres"]["bar"]["close_trade_id"] == 3_735_692_996
    assert not systems["redis"]["is_latest"]
    assert systems["dlq.producer"] == []


def test_every_store_holds_what_was_offered(replays: Replays, sent_again: SentAgain) -> None:
    before = replays.before
    report = tickhouse("reconcile", "--wait", "60")

    assert_conserved(report)
    assert report["stores"]["kafka"]["distinct"] - before["stores"]["kafka"]["distinct"] == ALL_TRADES
    assert report["gaps_open"] == before["gaps_open"]
    assert report["rejected"] == before["rejected"]
    assert report["known_duplicates"] - before["known_duplicates"] >= ARCHIVE_TRADES
