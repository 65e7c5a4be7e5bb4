"""Points of InfluxDB: identity, exact fields, trades that are alike, ranges of time."""

from __future__ import annotations

import struct
from typing import Any

import fastavro
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.loading import load, strip_logical_types
from spark.streaming.partial_sums import TradeReader
from spark.streaming.series_points import (
    MOST_ALIKE,
    Point,
    PointIdentity,
    SeriesClashes,
    clusters,
    fields_of,
    points_task,
    tags_of,
)

TIME_US = 1_723_161_598_123_456


def record(**changes: Any) -> dict[str, Any]:
    plain = {
        "event_id": "binance:spot:BTCUSDT:aggTrade:1234567",
        **{"exchange": "BINANCE", "market": "spot", "symbol": "BTCUSDT", "stream": "aggTrade"},
        **{"trade_id": 1_234_567, "first_trade_id": 10, "last_trade_id": 12},
        **{"price": scaled(6_168_599_000_000), "qty": scaled(150_000), "side": "BUY"},
        **{"event_time": TIME_US, "trade_time": TIME_US, "ingest_time": TIME_US, "source": "SIMULATED", "raw": "{}"},
    }
    return plain | changes


def scaled(units: int) -> bytes:
    return units.to_bytes(12, signed=True)


def point(trade_id: int, time_us: int = TIME_US, tags: str = "trade,symbol=BTCUSDT") -> Point:
    return Point("spot", "BTCUSDT", "aggTrade", tags, "x=1i", trade_id, time_us, 0, trade_id)


def test_a_point_has_no_id_in_its_tags() -> None:
    assert tags_of(record()) == "trade,exchange=BINANCE,market=spot,side=BUY,stream=aggTrade,symbol=BTCUSDT"


def test_a_symbol_of_any_script_is_escaped() -> None:
    assert tags_of(record(symbol="币安 人生=,\\USDT")).endswith("symbol=币安\\ 人生\\=\\,\\\\USDT")


def test_price_and_quantity_are_exact_beside_the_floats() -> None:
    assert fields_of(record()) == (
        "trade_id=1234567i,first_trade_id=10i,last_trade_id=12i,price_e8=6168599000000i,qty_e8=150000i,"
        "price=61685.99,qty=0.0015,quote_qty=92.528985"
    )


def test_a_price_beyond_64_bits_is_text() -> None:
    fields = fields_of(record(price=scaled(10**27 + 1)))

    assert fields is not None
    assert 'price_text="10000000000000000000.00000001"' in fields
    assert "price_e8" not in fields


@pytest.mark.parametrize("name", ["price", "qty"])
def test_a_sentinel_has_no_floats_and_so_is_in_no_roll_up(name: str) -> None:
    fields = fields_of(record(**{name: scaled(0)}))

    assert fields is not None
    assert f"{name}_e8=0i" in fields
    assert not any(name in fields for name in (",price=", ",qty=", "quote_qty"))


def test_a_turnover_that_fits_no_store_is_no_point() -> None:
    assert fields_of(record(price=scaled(10**27), qty=scaled(10**27))) is None


def test_the_time_carries_the_last_three_digits_of_the_id() -> None:
    assert point(1_234_567).line(0) == f"trade,symbol=BTCUSDT x=1i {TIME_US}567"
    assert point(8).line(2) == f"trade,symbol=BTCUSDT,clash=2 x=1i {TIME_US}008"


def test_trades_with_the_same_series_and_time_are_numbered_in_their_order() -> None:
    clashes = SeriesClashes()

    assert [clashes.number(point(number)) for number in (5, 1005, 6, 2005, 1005)] == [0, 1, 0, 2, 1]
    assert clashes.count == 2


def test_a_trade_keeps_the_number_that_the_store_gave_it() -> None:
    held = {PointIdentity("trade,symbol=BTCUSDT", point(5).time_ns): {1005: 0, 5: 1}}

    clashes = SeriesClashes(held)

    assert [clashes.number(point(number)) for number in (5, 1005, 2005)] == [1, 0, 2]
    assert clashes.count == 1  # only the last one is new


def test_there_is_a_bound_to_trades_that_are_alike() -> None:
    clashes = SeriesClashes()

    numbers = [clashes.number(point(5 + 1000 * at)) for at in range(MOST_ALIKE + 2)]

    assert numbers == [*range(MOST_ALIKE), MOST_ALIKE, MOST_ALIKE]


@given(st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 1), st.sampled_from("ab"))))
def test_no_two_trades_share_a_point_and_a_repeat_changes_none(trades: list[tuple[int, int, str]]) -> None:
    points = [point(number, TIME_US + time, f"trade,side={side}") for number, time, side in trades]
    clashes = SeriesClashes()
    lines = {(one.tags, one.trade_id, one.time_us): one.line(clashes.number(one)) for one in points}
    identities = {line.replace(" x=1i", "") for line in lines.values()}

    assert len(identities) == len(lines)
    assert [one.line(clashes.number(one)) for one in points] == [
        lines[one.tags, one.trade_id, one.time_us] for one in points
    ]


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([], []),
        ([7], [(7, 7)]),
        ([3, 1, 2, 20, 21], [(1, 3), (20, 21)]),
        ([1, 20, 40, 100], [(1, 40), (100, 100)]),  # at most two ranges: the largest gap separates them
    ],
)
def test_times_form_ranges_without_large_gaps(times: list[int], expected: list[tuple[int, int]]) -> None:
    assert clusters(times, most_gap=10, most=2) == expected


@given(st.lists(st.integers(0, 1000), min_size=1), st.integers(1, 100), st.integers(2, 5))
def test_every_time_is_in_a_range(times: list[int], most_gap: int, most: int) -> None:
    ranges = clusters(times, most_gap, most)

    assert len(ranges) <= most
    assert all(any(low <= at <= high for low, high in ranges) for at in times)


def test_the_task_returns_a_row_per_record_that_decodes() -> None:
    schema = strip_logical_types(load("trade"))
    reader = TradeReader({7: schema})
    values = [encoded(record(), schema), b"\0\0\0\0\7broken", None, encoded(record(trade_id=9), schema)]
    batch = pa.RecordBatch.from_arrays(
        [pa.array(values, pa.binary()), pa.array([0, 0, 1, 1], pa.int32()), pa.array([4, 5, 6, 7], pa.int64())],
        names=["value", "partition", "offset"],
    )

    (found,) = points_task(reader)([batch])

    assert found.column("trade_id").to_pylist() == [1_234_567, 9]
    assert found.column("partition").to_pylist() == [0, 1]
    assert found.column("offset").to_pylist() == [4, 7]
    assert found.column("time_us").to_pylist() == [TIME_US, TIME_US]


def encoded(fields: dict[str, Any], schema: Any) -> bytes:
    from io import BytesIO

    body = BytesIO()
    fastavro.schemaless_writer(body, fastavro.parse_schema(schema), fields)
    return struct.pack(">bI", 0, 7) + body.getvalue()
