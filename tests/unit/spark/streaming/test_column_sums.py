"""The sums of large batches equal those of small ones, whatever the bytes are."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable
from typing import Any

import fastavro
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.loading import without_logical_types
from spark.streaming import column_sums as module
from spark.streaming import trade_blocks
from spark.streaming.column_sums import partial_sums_task, sums_of
from spark.streaming.partial_sums import PARTIAL_ARROW, Ranges, SymbolStream, TradeReader, partials
from spark.streaming.redis_sink import advance
from spark.streaming.trade_blocks import decode_trades, is_exact, trade_types

SCHEMA_ID, OLD_ID = 7, 300
OWN = fastavro.parse_schema(without_logical_types("trade"))
READER = TradeReader({SCHEMA_ID: without_logical_types("trade")})
BTC = SymbolStream("spot", "BTCUSDT", "aggTrade")
Seen = dict[SymbolStream, Ranges]


def framed(record: dict[str, Any], number: int = SCHEMA_ID) -> bytes:
    body = io.BytesIO()
    fastavro.schemaless_writer(body, OWN, record)
    return struct.pack(">bI", 0, number) + body.getvalue()


def units(number: int, more: int = 0) -> bytes:
    return number.to_bytes(number.bit_length() // 8 + 1 + more, "big", signed=True)


def trade(trade_id: int, price: int = 150_000_000, qty: int = 200_000_000, **more: Any) -> dict[str, Any]:
    names = {"market": "spot", "stream": "aggTrade", "symbol": "BTCUSDT", **more}
    event_id = f"binance:{names['market']}:{names['symbol']}:{names['stream']}:{trade_id}"
    times = dict.fromkeys(("event_time", "trade_time", "ingest_time"), 1_723_161_598_000_000)
    ids = {"trade_id": trade_id, "first_trade_id": trade_id, "last_trade_id": trade_id}
    decimals = {"price": units(price), "qty": units(qty)}
    texts = {"exchange": "BINANCE", "side": "BUY", "source": "SIMULATED", "raw": "{}"}
    return {"event_id": event_id, **ids, **decimals, **times, **texts, **names}


def by_column(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the smallest batch be read as a block."""
    monkeypatch.setattr(trade_blocks, "FEWEST_IN_BLOCK", 1)
    monkeypatch.setattr(module, "FEWEST_IN_BLOCK", 1)


def same(values: list[bytes | None], seen: Seen | None = None, cut: int = 0) -> list[dict[str, Any]]:
    """Return the sums by column; they equal those of the trades one by one."""
    columns = [pa.array(part, pa.binary()) for part in (values[:cut], values[cut:]) if part]
    # A slice, so that the values do not begin at the beginning of their buffer.
    columns = [pa.concat_arrays([pa.array([b"xyz"], pa.binary()), column]).slice(1) for column in columns]
    with pytest.MonkeyPatch.context() as patch:
        by_column(patch)
        mine = sums_of(READER, columns, seen or {})
    theirs = partials(READER.facts(values), seen or {})
    assert canonical(mine) == canonical(theirs)
    return mine


def canonical(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    found = pa.RecordBatch.from_pylist(list(rows), PARTIAL_ARROW).to_pylist()
    return sorted(
        found, key=lambda row: (row["market"], row["symbol"], row["stream"], row["minute_us"], row["is_fresh"])
    )


amounts = st.one_of(
    st.integers(-(10**3), 10**4),
    st.integers(1, 10**14),
    st.integers(-(2**63) - 2, 2**63 + 2),
    st.integers(-(10**28) - 2, 10**28 + 2),
)
numbers = st.one_of(st.integers(0, 12), st.integers(-3, 2**40), st.integers(-(2**62), 2**62))
trades = st.builds(
    trade,
    st.one_of(st.integers(0, 12), numbers),
    st.one_of(st.integers(1, 10**10), amounts),
    st.one_of(st.integers(1, 10**10), amounts),
    market=st.sampled_from(["spot", "spot", "usdm", "coinm"]),
    symbol=st.sampled_from(["BTCUSDT", "BTCUSD_PERP", "ETHUSD_240628", "币安人生USDT"]),
    side=st.sampled_from(["BUY", "SELL", ""]),
    trade_time=st.sampled_from([0, -1, 59_999_999, 60_000_000, 1_723_161_598_000_000, -(2**62), 2**62]),
    first_trade_id=st.integers(-1, 99),
    raw=st.one_of(st.text(max_size=9), st.integers(0, 20_000).map(lambda size: "x" * size)),
)


def cut_off(value: bytes, at: int) -> bytes:
    return value[: at % (len(value) + 1)]


def damaged(value: bytes, at: int, byte: int) -> bytes:
    at %= len(value)
    return value[:at] + bytes([byte]) + value[at + 1 :]


good = trades.map(framed)
values = st.one_of(
    good,
    good,
    good,
    st.none(),
    st.binary(max_size=20),
    st.builds(framed, trades, st.sampled_from([8, OLD_ID])),
    st.builds(cut_off, good, st.integers(0, 400)),
    st.builds(damaged, good, st.integers(0, 400), st.integers(0, 255)),
    st.builds(lambda value, more: value + more, good, st.binary(min_size=1, max_size=3)),
)
ranges = st.dictionaries(
    st.sampled_from([BTC, SymbolStream("coinm", "BTCUSD_PERP", "aggTrade")]),
    st.sets(st.integers(0, 12)).map(lambda held: [(number, number) for number in sorted(held)]),
)


@given(st.lists(good, max_size=30), ranges, st.integers(0, 30))
def test_sums_by_column_equal_sums_one_by_one(batch: list[bytes | None], seen: Seen, cut: int) -> None:
    same(batch, seen, cut)


@given(st.lists(values, max_size=12))
def test_bad_values_are_left_out_alone(batch: list[bytes | None]) -> None:
    same(batch)


@given(st.lists(st.one_of(good, values), min_size=1, max_size=12))
def test_all_fields_equal_those_of_single_records(batch: list[bytes | None]) -> None:
    column, names = pa.array(batch, pa.binary()), list(trade_types())
    with pytest.MonkeyPatch.context() as patch:
        by_column(patch)
        block = decode_trades(READER, column, names)
    assert block.schema == {**trade_types(), "at": pl.Int64()}
    assert block.equals(decode_trades(READER, column, names))


def test_an_ordinary_batch_is_summed_by_column(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TradeReader, "records", None)
    monkeypatch.setattr(module, "partials", None)
    by_column(monkeypatch)
    symbols = [("spot", "BTCUSDT"), ("usdm", "BTCUSDT"), ("coinm", "BTCUSD_PERP")]
    batch = [
        framed(trade(n, 6 * 10**12, 10**14, market=market, symbol=symbol))
        for market, symbol in symbols
        for n in range(9)
    ]
    rows = sums_of(READER, [pa.array(batch, pa.binary())], {})
    assert [(row["market"], row["events"]) for row in rows] == [("spot", 9), ("usdm", 9), ("coinm", 9)]


def test_one_long_value_does_not_shift_the_others() -> None:
    batch: list[bytes | None] = [framed(trade(1)), framed(trade(2)) + b"\0", framed(trade(3)), framed(trade(4)) + b"\0"]
    assert is_exact(pa.array(batch, pa.binary()), [SCHEMA_ID]).tolist() == [True, False, True, False]
    (row,) = same(batch)
    assert row["events"] == 4  # bytes after the last field are ignored, as by the JVM


@pytest.mark.parametrize(
    "bad",
    [
        framed({**trade(2), "price": b""}),
        framed({**trade(2), "price": units(10**28)}),
        framed({**trade(2), "qty": units(-(10**28))}),
        framed({**trade(2), "price": units(10**38 * 9)}),
        framed(trade(2)).replace(b"BTCUSDT", b"BTC\xffSDT"),
        framed(trade(2))[:5] + b"\xff" * 11 + framed(trade(2))[5:],
        framed(trade(2))[:5] + b"\x01" + framed(trade(2))[6:],
        framed(trade(2))[:5] + b"\xfe\xff\xff\xff\xff\xff\xff\xff\x7f" + framed(trade(2))[6:],
        framed(trade(2), number=8),
        None,
        b"",
        b"\0\0\0\0\7",
    ],
)
def test_a_bad_value_is_left_out_alone(bad: bytes | None) -> None:
    (row,) = same([framed(trade(1)), bad, framed(trade(3))])
    assert [(run["lo"], run["hi"]) for run in row["ids"]] == [(1, 1), (3, 3)]


@pytest.mark.parametrize(
    "unusual",
    [
        framed({**trade(2), "price": units(5, more=3)}),
        framed({**trade(2), "price": units(5, more=30)}),
        framed({**trade(2), "raw": "x" * 9_000}),
        framed({**trade(2), "raw": "x" * 1_100_000}),
        framed({**trade(2), "ingest_time": -(2**63)}),
    ],
)
def test_unusual_values_count(unusual: bytes) -> None:
    (row,) = same([framed(trade(1)), unusual, framed(trade(3))])
    assert row["events"] == 3


def test_sums_are_exact_past_64_and_128_bits() -> None:
    large = [trade(number, 2**63 - 1, 2**63 - 1) for number in range(1)]
    for batch in (large, [trade(number, 10**15, 10**15) for number in range(50)]):
        same([framed(each) for each in batch])
    same([framed(trade(1, 10**27, 10**10)), framed(trade(2, 10**11, 10**26))])


@given(st.lists(good, min_size=1, max_size=30), ranges)
def test_the_newest_minute_is_enough_for_the_latest_price(batch: list[bytes | None], seen: Seen) -> None:
    column = pa.array(batch, pa.binary())
    with pytest.MonkeyPatch.context() as patch:
        by_column(patch)
        newest = sums_of(READER, [column], seen, is_newest_only=True)
    all_rows = sums_of(READER, [column], seen)
    for stream in {SymbolStream(row["market"], row["symbol"], row["stream"]) for row in all_rows}:
        assert state(newest, stream) == state(all_rows, stream)


def state(rows: list[dict[str, Any]], stream: SymbolStream) -> Any:
    return advance(None, [row for row in rows if (row["market"], row["symbol"], row["stream"]) == stream])


def test_task_reads_all_batches_and_returns_arrow() -> None:
    schema = pa.schema([("value", pa.binary())])
    batches = [pa.RecordBatch.from_pylist([{"value": framed(trade(n))}], schema) for n in (1, 2)]
    (answer,) = partial_sums_task(READER, {})(batches)
    assert answer.schema == PARTIAL_ARROW
    assert answer.to_pylist()[0]["ids"] == [{"lo": 1, "hi": 2}]
    assert list(partial_sums_task(READER, {})([])) == []
