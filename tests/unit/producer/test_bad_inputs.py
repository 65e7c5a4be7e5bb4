"""Every input of bad_inputs.yaml gets the verdict written beside it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from producer import records
from producer.codec import event_id_of
from producer.decimals import scaled
from producer.events import Tick, check_symbol, micros
from producer.files import batches, open_source
from producer.frames import Ignored, identify, parse_frame, tick_values
from tickhouse.errors import RejectedRecord

CORPUS = yaml.safe_load(Path(__file__).with_name("bad_inputs.yaml").read_text(encoding="utf-8"))


def raw_of(case) -> bytes:
    if "hex" in case:
        return bytes.fromhex(case["hex"])
    return (case["repeat"][0] * case["repeat"][1] if "repeat" in case else case["text"]).encode()


def cases(kind):
    return [pytest.param(case, id=str(case.get("name", case.get("text", case.get("value"))))) for case in CORPUS[kind]]


def verdict(work) -> str:
    try:
        found = work()
    except RejectedRecord as error:
        return error.reason if error.detail else "no detail"
    except UnicodeDecodeError:
        return "not_utf8"  # the intake turns it into this reason
    return "ignored" if isinstance(found, Ignored) else "accepted"


def take_frame(raw):
    event = parse_frame(raw.decode())
    if not isinstance(event, Ignored):
        check_symbol(event.symbol)
    if isinstance(event, Tick):
        tick_values(event)
    return event


def test_corpus_is_large_enough():
    assert sum(map(len, CORPUS.values())) >= 30


@pytest.mark.parametrize("case", cases("frames"))
def test_frames(case):
    raw = raw_of(case)
    assert verdict(lambda: take_frame(raw)) == case["expect"]
    _, identity = identify(raw)
    if "id" in case:
        assert identity.exchange_id == case["id"]
    elif case["expect"] not in ("accepted", "ignored"):
        assert identity is None


@pytest.mark.parametrize("case", cases("numbers"))
def test_numbers(case):
    assert verdict(lambda: scaled(case["text"])) == case["expect"]


@pytest.mark.parametrize("case", cases("times"))
def test_times(case):
    assert verdict(lambda: micros(case["value"])) == case["expect"]


@pytest.mark.parametrize("case", cases("csv"))
def test_csv_lines(case):
    parse = records.csv_line(records.SPOT_AGG, "BTCUSDT")
    assert verdict(lambda: parse(case["text"])) == case["expect"]
    identity = records.identify_csv(records.SPOT_AGG, "BTCUSDT")(case["text"].encode())[1]
    assert (identity and identity.exchange_id) == case.get("id", identity and identity.exchange_id)
    assert (identity is None) == (case["expect"] == "bad_id") or case["name"] == "too few columns"


@pytest.mark.parametrize("case", cases("files"))
def test_files(case, tmp_path):
    path = tmp_path / case["name"]
    path.write_bytes(raw_of(case))
    assert verdict(lambda: list(batches(open_source(path)))) == case["expect"]


@pytest.mark.parametrize("case", cases("avro"))
def test_avro_values(case):
    assert verdict(lambda: event_id_of(raw_of(case))) == case["expect"]
