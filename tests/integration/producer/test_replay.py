"""`tickhouse replay` and `tickhouse gaps` on a real broker: cut, resumed, repeated."""

from __future__ import annotations

import gzip
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from schemas import load
from schemas.registry import register_all
from tests.eventually import eventually
from tests.unit.producer.fakes import agg
from tickhouse.errors import SchemaIncompatible
from tickhouse.settings import home

pytestmark = pytest.mark.integration

TICKHOUSE = Path(sys.prefix) / "bin" / "tickhouse"
EVENTS = 150_000


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
    eventually(lambda: log.trade_ids().total() > 100, timeout_s=60, every_s=0.05)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=10)
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


def test_cut_file_is_sent_as_far_as_it_goes_and_told(log, tmp_path):
    whole = capture(tmp_path / "hft.txt.gz", range(1, 20_000)).read_bytes()
    path = tmp_path / "cut.txt.gz"
    path.write_bytes(whole[: len(whole) // 2])
    [done] = json.loads(tickhouse("replay", path, "--market", "spot", "--no-wait", "--json", expected=5))["files"]
    assert done["is_whole"] is False
    assert done["rejects"]["truncated"] >= 1
    assert log.trade_ids().total() == done["sent"] > 1000


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
