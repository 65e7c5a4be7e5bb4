"""Both sides of a comparison do the same work, and what is counted is what is meant."""

from __future__ import annotations

import json
import struct
import time
from io import BytesIO

import fastavro
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import burst
from bench.freshness_p95_s import LIMIT_S, WatchedRun, WatchedStore, figures
from bench.harness import BenchmarkFailed
from bench.market import _as_aggregate, recorded_frames, synthetic_frames
from bench.postgres_upsert import candle, cut
from bench.workers import encode, produce
from producer.encoding.events import Encoder
from producer.parsing.decimals import unscaled
from producer.parsing.frames import parse_frame
from schemas import without_logical_types

FRAMES = list(synthetic_frames(3_000))


def test_the_floor_writes_the_same_records_as_our_side():
    schema = fastavro.parse_schema(without_logical_types("trade"))
    encoder = Encoder("spot", trade_schema_id=3, tick_schema_id=4)
    for raw in FRAMES:
        trade = parse_frame(raw.decode())
        name = f"binance:spot:{trade.symbol}:aggTrade:{trade.trade_id}"
        ours = encoder.trades(trade.symbol, trade.stream, "WEBSOCKET")(name, trade, 10**15, raw)
        buffer = BytesIO()
        frame = msgspec.json.decode(raw, type=produce.RawFrame)
        fastavro.schemaless_writer(buffer, schema, produce._record(frame.data, raw, 10**15, produce.scaled))
        assert struct.pack(">bI", 0, 3) + buffer.getvalue() == ours


@given(st.integers(0, 8).flatmap(lambda places: st.decimals(0, 10**12, places=places)))
def test_the_floor_scales_as_we_do(number):
    assert produce.scaled(format(number, "f")) == unscaled(format(number, "f"))


def test_frames_are_seeded_and_in_sequence():
    assert list(synthetic_frames(3_000)) == FRAMES
    following: dict[str, int] = {}
    for raw in FRAMES:
        trade = parse_frame(raw.decode())
        assert trade.trade_id == following.get(trade.symbol, trade.trade_id)
        following[trade.symbol] = trade.trade_id + 1


def test_our_side_encodes_every_frame(tmp_path, capsys):
    path = tmp_path / "frames.txt"
    path.write_bytes(b"\n".join(FRAMES) + b"\n")
    encode.main(str(path), "2")
    answer = json.loads(capsys.readouterr().out)
    assert answer["taken"] == 2 * len(FRAMES)
    assert answer["bytes"] > answer["taken"] * 200


def test_our_side_does_not_count_what_it_rejects(tmp_path):
    path = tmp_path / "frames.txt"
    path.write_bytes(FRAMES[0].replace(b'"p":"', b'"p":"x') + b"\n")
    with pytest.raises(AssertionError, match="Expected no dead letter"):
        encode.main(str(path), "1")


def test_a_single_trade_becomes_an_aggregate_of_one():
    single = (
        '{"stream":"btcusdt@trade","data":{"e":"trade","E":1723161255343,"s":"BTCUSDT","t":3735683259,'
        '"p":"61837.63000000","q":"0.02000000","T":1723161255342,"m":true,"M":true}}'
    )
    trade = parse_frame(_as_aggregate(single))
    assert (trade.stream, trade.trade_id, trade.first_trade_id) == ("aggTrade", 3735683259, 3735683259)
    assert trade.same_payload(msgspec.structs.replace(parse_frame(single), stream="aggTrade"))


def test_without_recordings_there_are_no_frames(tmp_path):
    assert recorded_frames(tmp_path) == {"aggTrade": [], "bookTicker": []}


def watched(answers, times):
    replies = iter(answers)
    return WatchedStore(lambda: next(replies), times, {"A": 5}, (int(times["A"][1]), int(times["A"][-1]) + 1))


def test_every_event_counts_from_its_send_time_to_the_first_query_that_returns_it():
    now_us = time.time_ns() // 1000
    store = watched(
        [{"A": 5}, {"A": 7}, {"A": 7}], {"A": np.array([now_us - 90_000_000, now_us - 60_000_000, now_us - 20_000_000])}
    )
    store.poll()
    assert store.seconds == []  # the first event was before the window
    store.poll()
    store.poll()
    assert store.seconds == [pytest.approx(60, abs=10), pytest.approx(20, abs=10)]
    assert store.figures()["events"] == store.expected() == 2


def test_an_event_that_never_becomes_visible_is_infinitely_late_and_misses():
    now_us = time.time_ns() // 1000
    store = watched([{"A": 6}], {"A": np.array([now_us - 5, now_us - 4, now_us - 3])})
    store.poll()
    assert store.figures()["p95"] == float("inf")
    result = figures(WatchedRun({"postgres": store.figures(), "redis": {"p95": 0.1}}, {}, (1, 1)))
    assert result["ratio"] == float("inf")
    assert figures(WatchedRun({"postgres": {"p95": 1.0}, "redis": {"p95": 0.5}}, {}, (1, 1)))["ratio"] == 1.0 / LIMIT_S


def test_a_row_from_before_its_event_is_a_fault_of_the_measurement():
    now_us = time.time_ns() // 1000
    store = watched([{"A": 7}], {"A": np.array([now_us, now_us, now_us + 60_000_000])})
    with pytest.raises(BenchmarkFailed, match="before"):
        store.poll()


def test_candle_rows_are_as_many_as_partials_and_each_id_is_applied_once():
    batches = cut(3, seconds_per_batch=90, events_per_minute=200)
    rows = [row for batch in batches for row in batch]
    assert sum(run["hi"] - run["lo"] + 1 for row in rows for run in row["ids"]) == 600
    assert all(len(candle(row)) == 18 for row in rows)


def test_lost_is_offered_without_kafka_and_without_open_gaps(monkeypatch):
    gap = {"market": "spot", "symbol": "A", "stream": "aggTrade", "first_id": 2, "last_id": 3}
    stored = {
        "crypto.trades": [(b"", b"\0\0\0\0\1" + bytes([2 * len(name)]) + name) for name in (b"x:1", b"x:1", b"y:22")],
        "crypto.gaps": [
            (b"a", json.dumps({**gap, "state": "open"}).encode()),
            (b"b", json.dumps({**gap, "first_id": 9, "last_id": 9, "state": "open"}).encode()),
            (b"b", json.dumps({**gap, "first_id": 9, "last_id": 9, "state": "filled"}).encode()),
        ],
    }
    monkeypatch.setattr(burst, "records", lambda settings, topic: iter(stored[topic]))
    assert list(burst.kafka_ids(None)) == ["x:1", "x:1", "y:22"]
    assert burst.open_gap_ids(None) == {"binance:spot:A:aggTrade:2", "binance:spot:A:aggTrade:3"}


def test_drained_means_in_kafka_and_without_gap():
    done = {"queue_depth_frames": 0, "gaps_open": 0}
    assert burst.is_drained(done, 10, 10)
    assert not burst.is_drained(done, 9, 10)
    for name in done:
        assert not burst.is_drained({**done, name: 1}, 10, 10)
    assert not burst.is_drained({}, 0, 0)
