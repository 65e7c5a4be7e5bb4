"""Every shared capture gives the figures of its SUMMARY; skipped when there are no captures."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter, defaultdict
from datetime import UTC, datetime
from pathlib import Path

import pytest

from common.errors import RejectedRecord
from common.settings import REPO
from producer.events import Trade
from producer.parsing.decimals import from_bytes
from producer.parsing.frames import Ignored
from producer.parsing.source_files import batches, open_source
from producer.writer.intake import Origin
from tests.unit.producer.fakes import FakeOutbox, intake_on

DATA = Path(os.environ.get("TICKHOUSE_SHARED_DATA", REPO.parent / "shared" / "data"))

if not (DATA / "SUMMARY.json").exists():
    pytest.skip(f"the shared captures are not at {DATA} (TICKHOUSE_SHARED_DATA)", allow_module_level=True)

SUMMARY = {entry["path"]: entry for entry in json.loads((DATA / "SUMMARY.json").read_text())}
SUMMARY |= {
    "faults/dl_spot_trxusdt_20250304_negative.csv.gz": next(
        entry for entry in SUMMARY.values() if entry["file"].endswith("negative")
    )
}
REFUSED = {
    "archive/ADABTC-1m-2021-11-27.csv": "klines",
    "archive/ADABTC-1m-2021-11-28.csv": "klines",
    "klines/ft_XRPETH-1m-20191011.csv": "klines",
    "klines/ft_XRPETH-5m-20191011.csv": "klines",
    "klines/usdm_BTCUSDT-1m-2024-08-08T2355.csv": "klines",
    "archive/2022-10-04_aggregate_trade_updates.csv": "list of archive files that were replaced",
    "rest/samples/http_spot_market_klines.json": "klines",
    "rest/samples/http_spot_market_depth.json": "depth",
    "rest/samples/http_spot_market_exchange_info.json": "exchangeInfo",
    "rest/samples/http_spot_market_time.json": "server time",
    "rest/samples/http_spot_market_ping.json": "ping",
    "rest/samples/http_spot_market_ticker_price.json": "price ticker",
    "rest/samples/http_spot_market_book_ticker.json": "book ticker",
    "rest/samples/http_spot_market_avg_price.json": "average price",
}
SAMPLES = {
    "rest/samples/http_spot_market_agg_trades.json": ("aggTrade", 10),
    "rest/samples/http_spot_market_trades.json": ("trade", 10),
    "rest/samples/http_spot_market_historical_trades.json": ("trade", 10),
    "rest/samples/ws_spot_agg_trade.json": ("aggTrade", 1),
    "rest/samples/ws_spot_trade.json": ("trade", 1),
    "rest/samples/ws_spot_ticker_book.json": ("bookTicker", 1),
}
UNWANTED = {
    "info/cf_BINANCE.exchangeInfo.txt.gz": 1,
    "info/cf_BINANCE_FUTURES.exchangeInfo.txt.gz": 1,
    "rest/cf_BINANCE.depth.txt.gz": 4,
    "rest/cf_BINANCE_FUTURES.depth.txt.gz": 4,
}
# A sample of 2021 with a made-up time of nine digits, which is no exchange time.
MADE_UP = {"rest/samples/ws_spot_ticker_24hr.json": "bad_time"}


def symbol_for(name):
    """Return the value for `--symbol`, which the names of these files do not contain."""
    return next(iter(SUMMARY[name]["symbols"])) if name.startswith(("archive/", "rest/")) else None


def read(name, symbol=None):
    source = open_source(DATA / name, symbol or (symbol_for(name) if name in SUMMARY else None))
    for batch, _ in batches(source):
        for raw, _, _ in batch:
            yield source.format.parse(raw.decode())


def digest(trades):
    """Return the hash that the SUMMARY contains.

    It covers one line per record: `symbol,id,price,qty,time in us,1 if the buyer is maker`.
    """
    rows = (
        f"{t.symbol},{t.trade_id},{from_bytes(t.price).normalize():f},{from_bytes(t.qty).normalize():f},{t.trade_us},"
        f"{int(t.side == 'SELL')}\n"
        for t in trades
    )
    return hashlib.sha256("".join(rows).encode()).hexdigest()


def test_every_capture_has_a_test():
    everything = {str(path.relative_to(DATA)) for path in DATA.rglob("*") if path.is_file()}
    files = {name for name in everything if not name.startswith("field/")}  # those have tests/field
    assert files - {"README.md", "SUMMARY.json"} == {*SUMMARY, *REFUSED, *SAMPLES, *UNWANTED, *MADE_UP}


@pytest.mark.parametrize("name", sorted(SUMMARY))
def test_counts_are_those_of_the_summary(name):
    expected = SUMMARY[name]
    found = list(read(name))
    trades = [event for event in found if isinstance(event, Trade)]
    by_symbol = defaultdict(list)
    for trade in trades:
        by_symbol[trade.symbol].append(trade)
    assert len(trades) == expected["records"]
    for symbol, items in by_symbol.items():
        entry = expected["symbols"][symbol]
        assert (len(items), items[0].trade_id, items[-1].trade_id) == (entry["n"], entry["first_id"], entry["last_id"])
        assert items[0].trade_us == entry["t_first_us"]
        assert items[-1].trade_us == entry["t_last_us"]
    assert by_symbol.keys() == expected["symbols"].keys()
    days = Counter(datetime.fromtimestamp(trade.trade_us // 10**6, UTC).date().isoformat() for trade in trades)
    assert days == expected["event_days"]
    assert (
        sum(from_bytes(trade.price) <= 0 or from_bytes(trade.qty) <= 0 for trade in trades) == expected["non_positive"]
    )
    minutes = {(trade.symbol, trade.trade_us // 60_000_000) for trade in trades}
    assert len(minutes) == expected["bars_1m"]
    assert digest(trades) == expected["sha256_of_records"]
    lines = expected.get("lines_by_stream")
    if lines is not None:
        is_header = lambda stream: stream in ("(connect line)", "(blank line)")  # noqa: E731
        assert len(found) == sum(count for stream, count in lines.items() if not is_header(stream))


@pytest.mark.parametrize("name", sorted(SUMMARY))
def test_the_ledger_finds_the_repeats_and_gaps_of_the_summary(name):
    source, outbox = open_source(DATA / name, symbol_for(name)), FakeOutbox()
    market = "usdm" if "usdm" in name or "FUTURES" in name else "spot"
    intake = intake_on(outbox, gaps=False, writer="file:test", market=market)
    for batch, _ in batches(source):
        intake.feed(batch, Origin("ARCHIVE", source.format.parse, source.format.identify, lambda at: f"{name}:{at}"))
    expected, totals = SUMMARY[name], intake.totals()
    ledgers = [ledger for ledger in intake.ledgers.values() if ledger.stream in ("aggTrade", "trade")]
    assert totals["conflicts"] + totals["duplicates"] == expected["repeated_ids"]
    assert sum(len(ledger.holes()) for ledger in ledgers) == expected["id_gaps"]
    assert len(outbox.trades()) == expected["records"] - expected["repeated_ids"]
    assert totals["rejected"] == 0
    assert [headers["reason"] for _, _, headers in outbox.letters()] == ["conflict"] * expected["repeated_ids"]


def test_the_faulty_capture_has_one_conflict_and_one_gap():
    name = "faults/dl_spot_trxusdt_20250304_negative.csv.gz"
    source, outbox = open_source(DATA / name), FakeOutbox()
    intake = intake_on(outbox)
    for batch, _ in batches(source):
        intake.feed(batch, Origin("ARCHIVE", source.format.parse, source.format.identify, lambda at: f"file:{at}"))
    [(key, _, headers)] = outbox.letters()
    assert (key, headers["position"]) == ("binance:spot:TRXUSDT:trade:348656871", "file:4")
    assert [(gap.first_id, gap.last_id) for gap in intake.gaps.open_gaps()] == [(348656872, 348656872)]


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_files_without_trades_are_refused_by_name(name):
    with pytest.raises(RejectedRecord, match=REFUSED[name]) as caught:
        open_source(DATA / name)
    assert caught.value.reason == "unknown_format"


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_samples(name):
    found = list(read(name, "BTCUSDT"))
    assert Counter(event.stream for event in found) == dict([SAMPLES[name]])


@pytest.mark.parametrize("name", sorted(UNWANTED))
def test_unwanted_bodies_are_ignored(name):
    assert [type(event) for event in read(name)] == [Ignored] * UNWANTED[name]


@pytest.mark.parametrize("name", sorted(MADE_UP))
def test_made_up_samples_are_rejected(name):
    with pytest.raises(RejectedRecord) as caught:
        list(read(name))
    assert caught.value.reason == MADE_UP[name]
