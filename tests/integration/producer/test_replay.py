"""`tickhouse replay` and `tickhouse gaps` on a real broker: cut, resumed, repeated."""

from __future__ import annotations

import gzip
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from common.errors import SchemaIncompatible
from common.settings import home
from common.topics import TRADES
from producer.writer.outbox import MAX_RAW_BYTES
from schemas import load
from schemas.registry import register_all
from tests.unit.producer.fakes import agg

pytestmark = pytest.mark.integration

TICKHOUSE = Path(sys.prefix) / "bin" / "tickhouse"
EVENTS = 300_000  # seconds of sending, so that a kill within milliseconds of the first records finds it at work


def tickhouse(*arguments, expected=0):
    done = subprocess.run([TICKHOUSE, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == expected, done.stderr
    return done.stdout


def capture(path, numbers):
    with gzip.open(path, "wb", compresslevel=1) as packed:
        for number in numbers:
            packed.write(b"1723161255343000000 " + agg(number) + b"\n")
    return path


def test_replay_cut_by_kill_9_goes_on_where_the_log_ends(log, tmp_path):
    path = capture(tmp_path / "hft.txt.gz", range(1, EVENTS + 1))
    process = subprocess.Popen([TICKHOUSE, "replay", path, "--market", "spot", "--no-wait"], stderr=subprocess.DEVNULL)
    log.await_records(TRADES, 100)
    process.send_signal(signal.SIGKILL)
    assert process.wait(timeout=10) == -signal.SIGKILL
    before = log.trade_ids().total()
    assert before < EVENTS
    [done] = json.loads(tickhouse("replay", path, "--market", "spot", "--no-wait", "--json"))["files"]
    found = log.trade_ids()
    assert (len(found), max(found.values())) == (EVENTS, 1)
    assert done["sent"] + done["sent_earlier"] == EVENTS
    assert done["sent_earlier"] >= before
    assert done["counts"]["delivered"] == EVENTS


def test_replay_again_changes_nothing_unless_forced(log, tmp_path):
    path = capture(tmp_path / "hft.txt.gz", [1, 2, 3, 3, 6])
    first = json.loads(tickhouse("replay", path, "--market", "spot", "--no-wait", "--json"))["files"][0]
    assert first["counts"] | {"delivered": 4, "duplicates": 1, "received": 5} == first["counts"]
    assert first["gaps"] == [{"stream": "aggTrade", "symbol": "BTCUSDT", "first_id": 4, "last_id": 5}]
    again = json.loads(tickhouse("replay", path, "--market", "spot", "--no-wait", "--json"))["files"][0]
    assert (again["sent"], again["sent_earlier"], again["counts"]) == (0, 4, first["counts"])
    assert log.trade_ids().total() == 4
    [gap] = json.loads(tickhouse("gaps", "--json"))
    assert (gap["first_id"], gap["last_id"], gap["state"], gap["source"]) == (4, 5, "open", "ARCHIVE")
    tickhouse("replay", capture(tmp_path / "rest.txt.gz", [4, 5]), "--market", "spot", "--no-wait")
    [gap] = json.loads(tickhouse("gaps", "--json"))
    assert (gap["state"], gap["filled_ids"]) == ("filled", 2)
    tickhouse("replay", path, "--market", "spot", "--no-wait", "--again")
    assert log.trade_ids()["binance:spot:BTCUSDT:aggTrade:1"] == 2
    truth = [json.loads(line) for line in (home() / "truth" / "files.jsonl").read_text().splitlines()]
    assert sum(entry["path"] == str(path) for entry in truth) == 1


def test_dead_letters_of_a_file_are_sent_once(log, tmp_path):
    path = tmp_path / "frames.jsonl"
    path.write_bytes(b"\n".join([agg(1), agg(1, price="9"), agg(2, price="x"), b"[1]", agg(3)]))
    for _ in range(2):
        tickhouse("replay", path, "--market", "spot", "--no-wait")
    letters = sorted((headers["reason"], headers["position"]) for _, headers in log.letters())
    assert letters == [
        ("bad_number", "frames.jsonl:3"),
        ("conflict", "frames.jsonl:2"),
        ("not_an_object", "frames.jsonl:4"),
    ]
    assert log.trade_ids().total() == 2


def archive(path, numbers, price="100.5"):
    rows = (f"{n},{price},2.0,{n},{n},{1_639_474_150_000 + n},True,True\n" for n in numbers)
    path.write_text("".join(rows))
    return path


def test_bad_good_other_and_later_files_of_one_symbol(log, tmp_path):
    """A damaged copy, the good file, a conflict, a hole before a later file, its declared loss."""

    def replayed(name, numbers, price="100.5"):
        path = archive(tmp_path / f"{name}.csv", numbers, price)
        if name == "bad":  # a file without any row that can be read is refused before anything is sent
            path.write_text(archive(tmp_path / "first.csv", [0]).read_text() + path.read_text())
        arguments = ("--market", "spot", "--symbol", "BTCUSDT", "--no-wait", "--json")
        done = subprocess.run([TICKHOUSE, "replay", path, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["files"][0]

    assert replayed("bad", range(1, 11), "1.5x")["sent"] == 1
    assert replayed("good", range(1, 11))["sent"] == 10
    other = replayed("other", range(5, 12), "99")
    assert (other["sent"], other["counts"]["conflicts"], other["compared"], other["repeats"]) == (1, 6, 6, 6)
    conflict = next(headers for _, headers in log.letters() if headers["reason"] == "conflict")
    assert conflict["known_payload"].startswith("5,100.5,")
    later = replayed("later", range(5_000, 25_000, 2))
    assert later["gaps"][0] == {"stream": "aggTrade", "symbol": "BTCUSDT", "first_id": 12, "last_id": 4_999}
    assert replayed("later", range(5_000, 25_000, 2))["sent"] == 0
    assert [key for key in log.ledger() if key.rpartition("/")[2].isdecimal()]  # the ledger of a sparse file has parts
    assert replayed("dense", range(5_000, 25_000))["sent"] == 10_000
    [gap] = json.loads(tickhouse("gaps", "--state", "open", "--json"))
    assert (gap["first_id"], gap["last_id"]) == (12, 4_999)
    tickhouse("gaps", "declare", "spot", "BTCUSDT", 12, 999, "--reason", "lost by the exchange")
    gaps = [(gap["first_id"], gap["state"]) for gap in json.loads(tickhouse("gaps", "--symbol", "BTCUSDT", "--json"))]
    assert {(12, "unfillable"), (1_000, "open")} <= set(gaps)
    tickhouse("gaps", "declare", "spot", "BTCUSDT", 12, 999, "--reason", "again", expected=2)
    found = log.trade_ids()
    assert (len(found), max(found.values())) == (12 + 20_000, 1)


def test_cut_file_is_sent_as_far_as_it_goes_and_told(log, tmp_path):
    whole = capture(tmp_path / "hft.txt.gz", range(1, 20_000)).read_bytes()
    path = tmp_path / "cut.txt.gz"
    path.write_bytes(whole[: len(whole) // 2])
    [done] = json.loads(tickhouse("replay", path, "--market", "spot", "--no-wait", "--json", expected=5))["files"]
    assert done["is_whole"] is False
    assert done["rejects"]["truncated"] >= 1
    assert log.trade_ids().total() == done["sent"] > 1000


def test_frames_up_to_the_message_limit_are_sent_and_longer_ones_are_letters(log, tmp_path):
    path = tmp_path / "frames.jsonl"
    long = [agg(number).replace(b'"M":true', b'"M":true,"x":"%s"' % (b"y" * 2_000_000)) for number in range(1, 4)]
    fitting = long[1].replace(b"y" * (len(long[1]) - MAX_RAW_BYTES), b"", 1)
    path.write_bytes(b"\n".join([long[0], fitting, long[2], agg(4)]))
    [done] = json.loads(tickhouse("replay", path, "--market", "spot", "--no-wait", "--json"))["files"]
    assert (done["sent"], done["rejects"], done["problem"]) == (2, {"too_large": 2}, None)
    assert sorted(log.trade_ids()) == [f"binance:spot:BTCUSDT:aggTrade:{number}" for number in (2, 4)]
    assert [headers["cut_from_bytes"] for _, headers in log.letters()] == [str(len(long[0]))] * 2


def test_files_that_bring_nothing_end_with_an_error(log, tmp_path):
    refused = tmp_path / "BTCUSDT-aggTrades-2024-01.csv"
    refused.write_text("7,1.5E+00,1,7,7,1723161255343,true,true\n")
    rejected = tmp_path / "frames.jsonl"
    rejected.write_bytes(agg(1, price="x") + b"\n" + agg(2, price="1,5") + b"\n")
    tickhouse("replay", refused, rejected, "--market", "spot", "--no-wait", expected=5)
    assert log.letters() == []  # one file is refused, so nothing of the other was sent either
    for _ in range(2):  # the second run sends no dead letter again, and says the same
        [done] = json.loads(tickhouse("replay", rejected, "--market", "spot", "--no-wait", "--json", expected=5))[
            "files"
        ]
        assert "every one was rejected" in done["problem"]
    assert [headers["reason"] for _, headers in log.letters()] == ["bad_number"] * 2
    good, other = tmp_path / "good.jsonl", tmp_path / "other.jsonl"
    good.write_bytes(agg(7) + b"\n")
    other.write_bytes(agg(7) + b"\n\n")
    for path, sent in ((good, 1), (other, 0)):  # known ids are no failure
        [done] = json.loads(tickhouse("replay", path, "--market", "spot", "--no-wait", "--json"))["files"]
        assert (done["sent"], done["problem"]) == (sent, None)


def test_stores_that_lag_are_named(log, broker, tmp_path):
    path = capture(tmp_path / "hft.txt.gz", [1, 2])
    done = subprocess.run(
        [TICKHOUSE, "replay", path, "--market", "spot", "--timeout-s", "1"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 23
    assert all(name in done.stderr for name in ("postgres", "redis", "lake"))
    assert "Traceback" not in done.stderr
    assert log.trade_ids().total() == 2


def test_registry_refuses_what_breaks_an_earlier_version(broker, monkeypatch):
    first = register_all(broker.schema_registry_url)
    assert register_all(broker.schema_registry_url) == first
    broken = load("trade") | {"fields": load("trade")["fields"][:-1]}
    monkeypatch.setattr("schemas.registry.canonical_text", lambda name: json.dumps(broken))
    with pytest.raises(SchemaIncompatible):
        register_all(broker.schema_registry_url)
