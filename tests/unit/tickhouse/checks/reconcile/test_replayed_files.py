from __future__ import annotations

import gzip
import hashlib
import json
import zipfile

import pytest

from common.errors import ConfigurationError, PrerequisiteMissing
from tests.unit.tickhouse.checks.reconcile.test_json_records import AGG
from tickhouse.checks.reconcile.json_records import Source
from tickhouse.checks.reconcile.model import CheckedStream, CheckedTrade, Rejection, TickId
from tickhouse.checks.reconcile.offered_events import OfferedEvents, load_files, same_payload
from tickhouse.checks.reconcile.replayed_files import items

FRAME = json.dumps({"stream": "btcusdt@aggTrade", "data": AGG})
BOOK = json.dumps({"stream": "btcusdt@bookTicker", "data": {"u": 7, "s": "BTCUSDT", **dict.fromkeys("bBaA", "1")}})
WANTED = CheckedTrade(
    CheckedStream("spot", "BTCUSDT", "aggTrade"), 5000000001, 7, 9, 6168599000000, 150000, "SELL", 1723161255341000
)
REST = {"a": 1, "p": "0.1", "q": "2", "f": 3, "l": 4, "T": 1570752011620, "m": False, "M": True}
SPOT_AGG = "3800397495,87648.21,0.08185,5723703861,5723703862,1767225600039409,True,True"


def read(tmp_path, content, name="file", source=Source("spot", "BTCUSDT")):  # noqa: B008  # frozen
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(items(path, source))


def test_frames_with_receive_times_in_nanoseconds(tmp_path):
    depth = '{"lastUpdateId":1,"bids":[],"asks":[]}'
    text = "".join(f"172316125393708576{at} {line}\n" for at, line in enumerate((FRAME, BOOK, depth)))
    assert read(tmp_path, text) == [WANTED, TickId(CheckedStream("spot", "BTCUSDT", "bookTicker"), 7)]
    assert read(tmp_path, gzip.compress(text.encode()))[0] == WANTED


def test_a_cryptofeed_capture(tmp_path):
    text = f"wss://stream.binance.com:9443/stream?streams=a <-> 1633998511.159679\n1633998512.0633569: {FRAME}\n\n"
    assert read(tmp_path, text) == [WANTED]
    assert read(tmp_path, "https://api.binance.com/api/v3/depth -> 1633998512.3: {}\n") == []


def test_flattened_csv_with_pandas_floats(tmp_path):
    header = "TimestampOfReceive,Stream,EventType,EventTime,TransactionTime,Symbol,TradeId,Price,Quantity,Maker,M\n"
    line = "1741046401272286,trxusdt@trade,trade,1741046401271969,1741046401271497,TRXUSDT,5,1.2e-05,2619.4,1,True\n"
    key = CheckedStream("spot", "TRXUSDT", "trade")
    assert read(tmp_path, header + line) == [CheckedTrade(key, 5, 5, 5, 1200, 261940000000, "SELL", 1741046401271497)]
    broken = line.replace("1.2e-05", "x")
    found = read(tmp_path, header + broken)[0]
    assert (found.key, found.reason) == ("binance:spot:TRXUSDT:trade:5", "bad_number")


@pytest.mark.parametrize(
    ("lines", "market", "stream", "count"),
    [
        (SPOT_AGG, "spot", "aggTrade", 1),
        ("agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker\n"
         "5,1.5,2,10,11,1723161255342,true", "usdm", "aggTrade", 1),
        ("5,1.5,2,10,11,1723161255342,true", "usdm", "aggTrade", 1),
        ("5,1.5,2,3.0,1735689600000000,True,True", "spot", "trade", 1),
        ("id,price,qty,quote_qty,time,is_buyer_maker\n5,1.5,2,3.0,1723161255342,false", "usdm", "trade", 1),
        ("1637971200000,1,1,1,1,3,1637971259999,1,79,1,0.5,0", "spot", "", 0),
    ],
)  # fmt: skip
def test_archive_layouts_are_distinguished(tmp_path, lines, market, stream, count):
    found = read(tmp_path, lines + "\n", source=Source(market, "BTCUSDT"))
    assert len(found) == count
    assert all(one.key == CheckedStream(market, "BTCUSDT", stream) for one in found)


def test_archive_fields_and_a_zip(tmp_path):
    path = tmp_path / "BTCUSDT-aggTrades.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("BTCUSDT-aggTrades.csv", SPOT_AGG + "\n")
    key = CheckedStream("spot", "BTCUSDT", "aggTrade")
    wanted = CheckedTrade(key, 3800397495, 5723703861, 5723703862, 8764821000000, 8185000, "SELL", 1767225600039409)
    assert list(items(path, Source("spot", "BTCUSDT"))) == [wanted]


def test_rest_objects_by_line_by_array_and_pretty_printed(tmp_path):
    by_line = read(tmp_path, f"{json.dumps(REST)}\n{json.dumps(REST | {'a': 2})}\n")
    assert [one.trade_id for one in by_line] == [1, 2]
    assert read(tmp_path, json.dumps([REST, REST | {"a": 2}])) == by_line
    assert read(tmp_path, json.dumps([REST, REST | {"a": 2}], indent=2)) == by_line
    assert read(tmp_path, json.dumps(json.loads(FRAME), indent=2)) == [WANTED]


def test_a_cut_line_is_rejected_by_the_hash_of_its_bytes(tmp_path):
    cut = FRAME[:-20]
    found = read(tmp_path, f"1723161253937085768 {FRAME}\n1723161253937085769 {cut}")
    assert found[0] == WANTED
    assert (found[1].key, found[1].reason) == (f"sha256:{hashlib.sha256(cut.encode()).hexdigest()}", "invalid_json")
    assert found[1].position == "file:2"


def test_a_cut_gzip_file_gives_its_whole_lines_and_one_rejection(tmp_path):
    ids = [str(5000000001 + number * 7919) for number in range(3000)]
    lines = [f"1723161253937085768 {FRAME.replace('5000000001', one)}\n" for one in ids]
    packed = gzip.compress("".join(lines).encode())
    found = read(tmp_path, packed[: len(packed) // 2])
    assert 0 < len(found) < 3000
    assert [one.reason for one in found if isinstance(one, Rejection)] == ["truncated"]


def test_repeats_conflicts_and_units_of_time():
    truth = OfferedEvents()
    truth.add_all([WANTED, WANTED, WANTED._replace(time_us=WANTED.time_us + 7), WANTED._replace(qty=1)], "a file")
    assert truth.count == 1
    assert truth.repeats[WANTED.key, WANTED.trade_id] == 2
    assert [(one.key, one.reason) for one in truth.rejections] == [(WANTED.event_id, "conflict")]
    assert truth.spans == [(WANTED.key, WANTED.trade_id, WANTED.trade_id)]
    assert not same_payload(WANTED, WANTED._replace(time_us=WANTED.time_us + 1000))


def record(home, **changes):
    (home / "truth").mkdir(exist_ok=True)
    path = home / "capture"
    path.write_text(f"1723161253937085768 {FRAME}\n")
    entry = {"path": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "market": "spot",
             "symbol": None, "format": "x"} | changes  # fmt: skip
    with (home / "truth" / "files.jsonl").open("a") as stream:
        stream.write(json.dumps(entry) + "\n")
    return path


def test_replayed_files_are_read_once_each(tmp_path):
    record(tmp_path)
    record(tmp_path)
    truth = OfferedEvents()
    load_files(tmp_path, truth)
    assert (truth.count, truth.repeats.total(), truth.sources) == (1, 0, ["capture"])
    load_files(tmp_path / "nothing", truth)


def test_a_changed_or_missing_file_is_an_error(tmp_path):
    path = record(tmp_path)
    path.write_text("other")
    with pytest.raises(ConfigurationError, match="not the file that was replayed"):
        load_files(tmp_path, OfferedEvents())
    path.unlink()
    with pytest.raises(PrerequisiteMissing, match="is gone") as gone:
        load_files(tmp_path, OfferedEvents())
    assert gone.value.next_command == f"put it back, or tickhouse reconcile --without {path}"
    for name in (path.name, str(path)):
        truth = OfferedEvents()
        load_files(tmp_path, truth, [name])
        assert (truth.count, truth.left_out) == (0, [str(path)])
    (tmp_path / "truth" / "files.jsonl").write_text("[]\n")
    with pytest.raises(ConfigurationError, match=r"files.jsonl:1"):
        load_files(tmp_path, OfferedEvents())
