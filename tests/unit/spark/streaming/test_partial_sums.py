from __future__ import annotations

import io
import struct
from decimal import Decimal
from itertools import pairwise
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.loading import load, without_logical_types
from spark.streaming.partial_sums import (
    KnownIds,
    Ranges,
    SymbolStream,
    TradeFacts,
    TradeReader,
    mark_fresh,
    partials,
    runs,
)
from tests.unit.spark.trades import MINUTE_US, SCHEMA, Trade, candle

BTC = SymbolStream("spot", "BTCUSDT", "aggTrade")
SCHEMA_ID = 7


def facts(trade: Trade) -> TradeFacts:
    stream = SymbolStream(trade.market, trade.symbol, trade.stream)
    price, qty = (int(Decimal(text).scaleb(8)) for text in (trade.price, trade.qty))
    return TradeFacts(trade.event_id, stream, trade.trade_id, trade.singles, price, qty, trade.side, trade.time_us)


def sums(trades: list[Trade], seen: dict[SymbolStream, Ranges] | None = None) -> list[dict[str, Any]]:
    return partials(map(facts, trades), seen or {})


def ids(row: dict[str, Any]) -> list[tuple[int, int]]:
    return [(run["lo"], run["hi"]) for run in row["ids"]]


def test_partial_equals_candle_by_definition() -> None:
    trades = [
        Trade(4, price="0.00000001", qty="46116860414.00000001", side="SELL", singles=3),
        Trade(2, price="9999998955.12345678", qty="0.00000001"),
        Trade(3, price="61685.99", qty="0.5"),
        Trade(1, price="7.1", qty="3", side="SELL"),
    ]
    (row,) = sums(trades)
    expected = candle(trades)
    expected["checksum"] = str(expected["checksum"])
    assert {name: row[name] for name in expected} == expected
    assert (ids(row), row["is_fresh"]) == ([(1, 4)], True)
    assert (row["last_event_id"], row["last_qty"]) == (trades[0].event_id, Decimal(trades[0].qty))


def test_sums_are_exact_past_28_digits() -> None:
    (row,) = sums([Trade(1, price="99999999999.99999999", qty="9999999999.99999999")])
    units = 9_999_999_999_999_999_999 * 999_999_999_999_999_999
    assert f"{row['quote_volume']:f}".replace(".", "") == str(units)


def test_sentinels_count_for_continuity_only() -> None:
    (row,) = sums([Trade(1), Trade(2, price="0", qty="0"), Trade(3)])
    assert (ids(row), row["events"], row["low"]) == ([(1, 3)], 2, Decimal("1.5"))
    (alone,) = sums([Trade(9, price="0", qty="0")])
    assert (alone["events"], alone["volume"], alone.get("open")) == (0, 0, None)


def test_runs_split_at_missing_ids_and_minutes() -> None:
    rows = sums([Trade(1), Trade(5), Trade(2), Trade(6, time_us=Trade(6).time_us + MINUTE_US)])
    assert [ids(row) for row in rows] == [[(1, 2), (5, 5)], [(6, 6)]]


def test_repeats_in_a_batch_count_once_and_the_first_wins() -> None:
    (row,) = sums([Trade(1, price="3"), Trade(2), Trade(1, price="4")])
    assert (row["events"], row["trades"], row["open"]) == (2, 2, Decimal(3))


def test_seen_ids_are_not_fresh() -> None:
    rows = sums([Trade(n) for n in (1, 2, 3, 4, 5)], {BTC: [(2, 2), (5, 9)]})
    assert {row["is_fresh"]: ids(row) for row in rows} == {True: [(1, 1), (3, 4)], False: [(2, 2), (5, 5)]}


def test_seen_ids_of_another_stream_do_not_matter() -> None:
    rows = sums([Trade(1)], {BTC._replace(stream="trade"): [(1, 1)], BTC._replace(market="usdm"): [(1, 1)]})
    assert [row["is_fresh"] for row in rows] == [True]


class Counting(list):  # type: ignore[type-arg]
    """A list that counts how often one of its items is read."""

    reads = 0

    def __getitem__(self, at: Any) -> Any:
        Counting.reads += 1
        return super().__getitem__(at)


def test_a_look_up_among_many_ranges_bisects() -> None:
    known = KnownIds({BTC: [(n, n) for n in range(0, 200_000, 2)]})
    known._starts[BTC], known._ends[BTC] = Counting(known._starts[BTC]), Counting(known._ends[BTC])
    Counting.reads = 0
    assert [known.holds(BTC, n) for n in (0, 1, 100_000, 100_001, 199_998, 10**9)] == [True, False] * 3
    assert known.count(BTC, 100_000, 100_003) == 2
    assert Counting.reads <= 7 * 2 * 18  # 2^17 > 100,000 ranges; a linear search would be 500,000 reads


@given(st.sets(st.integers(0, 60)), st.sets(st.integers(0, 60)))
def test_known_counts_like_a_set(seen: set[int], asked: set[int]) -> None:
    known = KnownIds({BTC: [(run["lo"], run["hi"]) for run in runs(seen)]})
    assert {n for n in range(62) if known.holds(BTC, n)} == seen
    assert sum(known.count(BTC, run["lo"], run["hi"]) for run in runs(asked)) == len(seen & asked)


def test_rows_are_marked_when_the_store_holds_all_or_none_of_each() -> None:
    rows = sums([Trade(1), Trade(2), Trade(3, time_us=Trade(3).time_us + MINUTE_US)])
    assert [row["is_fresh"] for row in mark_fresh(rows, {}) or ()] == [True, True]
    assert [row["is_fresh"] for row in mark_fresh(rows, {BTC: [(1, 2)]}) or ()] == [False, True]
    assert [row["is_fresh"] for row in mark_fresh(rows, {BTC: [(1, 9)]}) or ()] == [False, False]
    assert mark_fresh(rows, {BTC: [(2, 2)]}) is None


@given(st.sets(st.integers(0, 80)))
def test_runs_hold_the_same_numbers(numbers: set[int]) -> None:
    found_runs = runs(numbers)
    assert {number for run in found_runs for number in range(run["lo"], run["hi"] + 1)} == numbers
    assert all(left["hi"] + 1 < right["lo"] for left, right in pairwise(found_runs))


def framed(trade: Trade, number: int = SCHEMA_ID) -> bytes:
    names = [column.split()[0] for column in SCHEMA.split(", ")]
    record = dict(zip(names, trade.row(), strict=True))
    body = io.BytesIO()
    fastavro.schemaless_writer(body, fastavro.parse_schema(load("trade")), record)
    return struct.pack(">bI", 0, number) + body.getvalue()


def read(values: list[bytes | None]) -> list[TradeFacts]:
    return list(TradeReader({SCHEMA_ID: without_logical_types("trade")}).facts(values))


def test_reader_returns_what_was_written() -> None:
    trades = [Trade(1, price="61685.99", qty="0.00000001", side="SELL", singles=4), Trade(2, price="0", qty="0")]
    assert read([framed(trade) for trade in trades]) == [facts(trade) for trade in trades]


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"\x00",
        b"text",
        b"\x01" + framed(Trade(1))[1:],
        framed(Trade(1), number=999),
        framed(Trade(1))[:20],
        framed(Trade(1))[:5] + b"\x03",
        framed(Trade(1))[:5] + b"\xff\xff\xff\xff\x0fabc",
        framed(Trade(1))[:5] + b"\x10abc",
        framed(Trade(1))[:5] + b"\x04\xff\xfe",
        framed(Trade(1, price="99999999999999999999", qty="99999999999999999999")),
    ],
)
def test_undecodable_values_are_skipped(value: bytes | None) -> None:
    good = framed(Trade(5))
    assert [trade.trade_id for trade in read([good, value, good])] == [5, 5]


@given(st.binary(max_size=60))
def test_no_bytes_break_the_reader(noise: bytes) -> None:
    read([framed(Trade(1))[:5] + noise])
