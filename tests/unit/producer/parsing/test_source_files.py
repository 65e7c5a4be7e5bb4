"""Recorded files: packed, cut, with and without headers, archives with checksums."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import zipfile

import pytest

from common.errors import ConfigurationError, RejectedRecord
from producer.events import Tick, Trade
from producer.parsing.format_detection import seconds_to_micros, symbol_of
from producer.parsing.source_files import batches, open_source
from producer.replay import ReplayedFile, record_truth
from tests.unit.producer.fakes import agg

SPOT = "3800397495,87648.21000000,0.08185000,5723703861,5723703862,1767225600039409,True,True\n"
OLD_SPOT = "1,0.0001,5,1,1,1502942428322,False,True\n"
FUTURES = "10,61800.30,0.006,11,12,1723161256322,false\n"
FUTURES_US = 1723161256322000
FUTURES_HEADER = "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker\n"
TRADES_SPOT = "28457,61685.99,0.1,6168.5,1723161256322,True,True\n"
TRADES_FUTURES = "id,price,qty,quote_qty,time,is_buyer_maker\n28457,61685.99,0.1,6168.5,1723161256322,true\n"
CAPTURE = (
    "TimestampOfReceive,Stream,EventType,EventTime,TransactionTime,Symbol,TradeId,Price,Quantity,IsBuyerMarketMaker,"
    "MUnknownParameter\n1741046401272286,trxusdt@trade,trade,1741046401271969,1741046401271497,TRXUSDT,348656870,"
    "1e-05,2619.4,1,True\n"
)
REST = '{"a":7,"p":"0.5","q":"23.0","f":9,"l":9,"T":1570752011620,"m":true,"M":true}'
HISTORICAL = '{"id":7,"price":"0.5","qty":"23.0","quoteQty":"11.5","time":1570752011620,"isBuyerMaker":true}'


def events(path, symbol=None):
    source = open_source(path, symbol)
    return [
        (source.format.parse(raw.decode()), received, at) for batch, _ in batches(source) for raw, received, at in batch
    ]


def write(tmp_path, name, text):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("BTCUSDT-aggTrades-2026-01-01.csv", SPOT, ("aggTrade", "BTCUSDT", 3800397495, 1767225600039409)),
        ("ETHBTC-aggTrades-2017-08.csv", OLD_SPOT, ("aggTrade", "ETHBTC", 1, 1502942428322000)),
        ("BTCUSDT-aggTrades-2021-01.csv", FUTURES, ("aggTrade", "BTCUSDT", 10, 1723161256322000)),
        ("ADAUSD_PERP-aggTrades-2024-01.csv", FUTURES_HEADER + FUTURES, ("aggTrade", "ADAUSD_PERP", 10, FUTURES_US)),
        ("BTCUSDT-trades-2024-08-08.csv", TRADES_SPOT, ("trade", "BTCUSDT", 28457, 1723161256322000)),
        ("BTCUSDT_240927-trades-2024-08.csv", TRADES_FUTURES, ("trade", "BTCUSDT_240927", 28457, 1723161256322000)),
        ("dl.csv", CAPTURE, ("trade", "TRXUSDT", 348656870, 1741046401271497)),
        ("rest.jsonl", REST + "\n", ("aggTrade", "XRPETH", 7, 1570752011620000)),
        ("rest.json", f"[\n {REST}\n]\n", ("aggTrade", "XRPETH", 7, 1570752011620000)),
        ("rest.historical.json", f"[{HISTORICAL}]", ("trade", "XRPETH", 7, 1570752011620000)),
        ("frame.json", json.dumps(json.loads(agg(7)), indent=2), ("aggTrade", "BTCUSDT", 7, 1723161255343000)),
        ("frames.jsonl", agg(7) + b"\r\n", ("aggTrade", "BTCUSDT", 7, 1723161255343000)),
    ],
)  # fmt: skip
def test_every_format_is_detected_by_its_content(tmp_path, name, text, expected):
    [(trade, _, _)] = events(write(tmp_path, name, text), "XRPETH" if name.startswith("rest.") else None)
    assert isinstance(trade, Trade)
    assert (trade.stream, trade.symbol, trade.trade_id, trade.trade_us) == expected


def test_a_given_symbol_overrides_the_file_name(tmp_path):
    [(trade, _, _)] = events(write(tmp_path, "BTCUSDT-aggTrades-2026-01-01.csv", SPOT), "ETHUSDT")
    assert trade.symbol == "ETHUSDT"


def test_file_without_a_symbol_asks_for_it(tmp_path):
    with pytest.raises(ConfigurationError, match="--symbol"):
        open_source(write(tmp_path, "part1.csv", SPOT))


@pytest.mark.parametrize(
    ("name", "symbol"),
    [
        ("BTCUSDT-aggTrades-2026-01-01.zip", "BTCUSDT"),
        ("BTCUSDT-aggTrades-2026-01.csv.gz", "BTCUSDT"),
        ("BTCUSDT_240927-trades-2024-08.csv", "BTCUSDT_240927"),
        ("ADAUSD_PERP-trades-2026-01-05.csv", "ADAUSD_PERP"),
        ("1000SHIBUSDT-trades-2026-01-05.csv", "1000SHIBUSDT"),
        ("\u5e01\u5b89\u4eba\u751fUSDT-aggTrades-2025-11-01.zip", "\u5e01\u5b89\u4eba\u751fUSDT"),
        ("\u30ab\u3099USDT-aggTrades-2025-11-01.zip", "\u30acUSDT"),  # as a file system decomposes it
        ("\uff22TCUSDT-aggTrades-2025-11-01.zip", None),  # full-width B
        ("\u0412TCUSDT-aggTrades-2025-11-01.zip", None),  # Cyrillic letter that looks like B
        ("btcusdt-aggTrades-2026-01-01.zip", None),
        ("ft_XRPETH_aggTrades_20191011.jsonl.gz", None),
        ("eq_BTCUSDT-aggTrades-2026-01-01_part1.csv", None),
        ("my BTCUSDT-aggTrades-2026-01-01.csv", None),
        ("BTCUSDT-aggTrades-2026-01-01 (1).csv", None),
        ("old-BTCUSDT-aggTrades-2026-01-01.csv", None),
        ("http_spot_market_agg_trades.json", None),
    ],
)
def test_symbol_in_a_name(name, symbol):
    assert symbol_of(name) == symbol


def test_receive_times_of_captures(tmp_path):
    hft = write(tmp_path, "hft.txt", b"1723161254087896568 " + agg(1) + b"\n")
    assert [(received, at) for _, received, at in events(hft)] == [(1723161254087896, 1)]
    capture = b"wss://fstream.binance.com/stream?streams=a <-> 1626992740.179554\n1626992741.06217: " + agg(1) + b"\n\n"
    assert [(received, at) for _, received, at in events(write(tmp_path, "cf.txt", capture))] == [(1626992741062170, 2)]
    assert seconds_to_micros(b"1633998512.0633569") == 1633998512063356


def test_gzip_of_several_members_and_lines_over_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr("producer.parsing.source_files.CHUNK_BYTES", 64)
    packed = gzip.compress(b"".join(agg(n) + b"\n" for n in range(5))) + gzip.compress(agg(5) + b"\n" + agg(6))
    read = events(write(tmp_path, "frames.jsonl.gz", packed))
    assert [trade.trade_id for trade, _, _ in read] == list(range(7))
    assert [at for _, _, at in read] == list(range(1, 8))


def test_a_cut_gzip_gives_what_can_be_read(tmp_path):
    packed = gzip.compress(b"".join(agg(n) + b"\n" for n in range(2000)))
    source = open_source(write(tmp_path, "frames.jsonl.gz", packed[: len(packed) // 2]))
    line_counts: list[int] = []
    with pytest.raises(RejectedRecord, match="truncated"):
        line_counts.extend(len(batch) for batch, _ in batches(source))
    assert sum(line_counts) > 500


def archive(tmp_path, text=SPOT, files=1):
    path = tmp_path / "BTCUSDT-aggTrades-2026-01-01.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for number in range(files):
            packed.writestr(f"{number}.csv", text)
    return path


def test_zip_with_its_checksum(tmp_path):
    path = archive(tmp_path)
    assert open_source(path).checksum == "no CHECKSUM file beside it"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    (tmp_path / f"{path.name}.CHECKSUM").write_text(f"{digest}  {path.name}\n")
    assert open_source(path).checksum == "verified"
    assert [trade.trade_id for trade, _, _ in events(path)] == [3800397495]


def test_zip_that_is_not_the_published_one_is_refused(tmp_path):
    path = archive(tmp_path)
    (tmp_path / f"{path.name}.CHECKSUM").write_text(f"{'0' * 64}  {path.name}\n")
    with pytest.raises(RejectedRecord, match="sha256"):
        open_source(path)


def test_zip_of_two_files_is_refused(tmp_path):
    with pytest.raises(RejectedRecord, match="unknown_format"):
        open_source(archive(tmp_path, files=2))


def test_damaged_zip_is_truncated(tmp_path):
    path = archive(tmp_path, SPOT * 5000)
    body = bytearray(path.read_bytes())
    body[200:260] = bytes(60)
    path.write_bytes(body)
    with pytest.raises(RejectedRecord, match="truncated"):
        list(batches(open_source(path)))


def test_files_may_hold_ticks(tmp_path):
    frame = b'{"stream":"btcusdt@bookTicker","data":{"u":1,"s":"BTCUSDT","b":"1","B":"1","a":"1","A":"1"}}'
    [(tick, _, _)] = events(write(tmp_path, "hft.txt", b"1723161254087896568 " + frame))
    assert isinstance(tick, Tick)


def test_truth_is_recorded_once(tmp_path):
    source = open_source(write(tmp_path, "BTCUSDT-aggTrades-2026-01-01.csv", SPOT))
    for market in ("spot", "spot", "usdm"):
        record_truth(tmp_path, source, market, "BTCUSDT")
    entries = [json.loads(line) for line in (tmp_path / "truth" / "files.jsonl").read_text().splitlines()]
    assert [entry["market"] for entry in entries] == ["spot", "usdm"]
    assert all(entry.pop("at_s") > 1_700_000_000 for entry in entries)  # retention counts from it
    assert entries[0] == {
        "path": str(source.path), "sha256": source.sha256, "market": "spot", "symbol": "BTCUSDT",
        "format": "archive aggTrades, spot",
    }  # fmt: skip


def test_a_file_name_that_is_not_utf8_is_refused(tmp_path):
    path = tmp_path / os.fsdecode(b"BTCUSDT-\xff.csv")
    path.write_text(SPOT)
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        open_source(path, "BTCUSDT")


@pytest.mark.parametrize(
    ("lines", "rejected", "sent", "is_whole", "problem_part"),
    [
        (6, 5, 1, True, ""),
        (3, 0, 0, True, ""),  # ignored frames, or ids that another file brought
        (1, 2, 1, True, ""),  # an array
        (5, 5, 0, True, "every one was rejected"),
        (0, 0, 0, True, "no line with an event"),
        (1, 0, 1, False, "not read to its end"),
    ],
)
def test_the_problem_of_a_replay_without_events(lines, rejected, sent, is_whole, problem_part):
    done = ReplayedFile(
        path="p", sha256="s", format="f", checksum="c", sent=sent, sent_earlier=0, counts={}, rejects={}, gaps=[],
        delivered={}, offsets={}, is_whole=is_whole, seconds=0.0, lines=lines, rejected_lines=rejected,
    )  # fmt: skip
    assert problem_part in done.problem
    assert bool(done.problem) == bool(problem_part)
