"""Every input of bad_inputs.yaml gives the result that the file expects."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from common.errors import RejectedRecord
from producer.encoding.events import event_id_of
from producer.events import Tick, check_symbol, micros
from producer.parsing import rest_and_csv
from producer.parsing.decimals import scaled
from producer.parsing.frames import Ignored, identify, parse_frame, tick_values
from producer.parsing.source_files import batches, open_source

CORPUS = yaml.safe_load(Path(__file__).with_name("bad_inputs.yaml").read_text(encoding="utf-8"))


def raw_of(case) -> bytes:
    if "hex" in case:
        return bytes.fromhex(case["hex"])
    return (case["repeat"][0] * case["repeat"][1] if "repeat" in case else case["text"]).encode()


def cases(kind):
    return [pytest.param(case, id=str(case.get("name", case.get("text", case.get("value"))))) for case in CORPUS[kind]]


def result_of(work) -> str:
    try:
        result = work()
    except RejectedRecord as error:
        return error.reason if error.detail else "no detail"
    except UnicodeDecodeError:
        return "not_utf8"  # the intake turns it into this reason
    return "ignored" if isinstance(result, Ignored) else "accepted"


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
    assert result_of(lambda: take_frame(raw)) == case["expect"]
    _, identity = identify(raw)
    if "id" in case:
        assert identity.exchange_id == case["id"]
    elif case["expect"] not in ("accepted", "ignored"):
        assert identity is None


@pytest.mark.parametrize("case", cases("numbers"))
def test_numbers(case):
    assert result_of(lambda: scaled(case["text"])) == case["expect"]


@pytest.mark.parametrize("case", cases("times"))
def test_times(case):
    assert result_of(lambda: micros(case["value"])) == case["expect"]


@pytest.mark.parametrize("case", cases("csv"))
def test_csv_lines(case):
    parse = rest_and_csv.csv_line(rest_and_csv.SPOT_AGG, "BTCUSDT")
    assert result_of(lambda: parse(case["text"])) == case["expect"]
    identity = rest_and_csv.identify_csv(rest_and_csv.SPOT_AGG, "BTCUSDT")(case["text"].encode())[1]
    assert (identity and identity.exchange_id) == case.get("id", identity and identity.exchange_id)
    assert (identity is None) == (case["expect"] == "bad_id") or case["name"] == "too few columns"


@pytest.mark.parametrize("case", cases("files"))
def test_files(case, tmp_path):
    path = tmp_path / case["name"]
    path.write_bytes(raw_of(case))
    assert result_of(lambda: list(batches(open_source(path)))) == case["expect"]


@pytest.mark.parametrize("case", cases("avro"))
def test_avro_values(case):
    assert result_of(lambda: event_id_of(raw_of(case))) == case["expect"]
