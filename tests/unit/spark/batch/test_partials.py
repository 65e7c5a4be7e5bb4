"""Partial bars, in any order and split, add up to the bars that the checker computes."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spark.batch.partials import PARTIAL, TRADE_COLUMNS, partial_bars
from tests.lakes import bronze_row, moment
from tickhouse.checks.reconcile.bars import MinuteBar, bars_of
from tickhouse.checks.reconcile.model import SCALE, CheckedStream, CheckedTrade

NOON_US = 1_723_118_400_000_000
KEYS = [
    CheckedStream("spot", "BTCUSDT", "aggTrade"),
    CheckedStream("usdm", "BTCUSDT", "trade"),
    CheckedStream("spot", "A", "trade"),
]
LARGEST_PRICE, LARGEST_QTY = 9_999_998_955 * SCALE, 46_116_860_414 * SCALE

TRADES = st.lists(
    st.builds(
        lambda key, number, price, qty, side, second, singles: CheckedTrade(
            key, number, number * 9, number * 9 + singles, price, qty, side, NOON_US + second * 1_000_000
        ),
        st.sampled_from(KEYS),
        st.integers(0, 2**62 // 9),
        st.integers(0, LARGEST_PRICE // 1000),
        st.integers(0, LARGEST_QTY // 1000),
        st.sampled_from(["BUY", "SELL"]),
        st.integers(0, 200),
        st.integers(0, 7),
    ),
    max_size=40,
    unique_by=lambda trade: (trade.key, trade.trade_id),
)


def silver_batch(trades: list[CheckedTrade], *, is_coded: bool = False) -> pa.RecordBatch:
    rows = []
    for trade in trades:
        row = bronze_row(trade, 0)
        quote_qty = Decimal(trade.price * trade.qty)
        figures = {"quote_qty": pa.scalar(str(quote_qty)).as_py(), "is_sentinel": trade.is_sentinel}
        rows.append({**row, **figures, "minute": moment(trade.minute_us)})
    kinds = {
        **dict.fromkeys(("market", "symbol", "stream", "side"), pa.string()),
        **dict.fromkeys(("trade_id", "first_trade_id", "last_trade_id"), pa.int64()),
        **dict.fromkeys(("price", "qty"), pa.decimal128(28, 8)),
        **{"is_sentinel": pa.bool_(), "minute": pa.timestamp("us", "UTC")},
    }
    columns: dict[str, pa.Array] = {}
    for name in TRADE_COLUMNS:
        if name == "quote_qty":
            units = [int(row["quote_qty"]) for row in rows]
            columns[name] = pa.array([Decimal((0, tuple(map(int, str(n))), -16)) for n in units], pa.decimal128(38, 16))
        else:
            columns[name] = pa.array([row[name] for row in rows], kinds[name])
        if is_coded and kinds.get(name) == pa.string():
            columns[name] = columns[name].dictionary_encode()
    return pa.RecordBatch.from_pydict(columns)


def units(value: Decimal, places: int) -> int:
    sign, digits, exponent = value.as_tuple()
    assert exponent == -places
    return (-1 if sign else 1) * int("".join(map(str, digits)))


def merged(partials: list[dict[str, Any]]) -> dict[tuple[str, str, str, int], dict[str, Any]]:
    groups: dict[tuple[str, str, str, int], list[dict[str, Any]]] = defaultdict(list)
    for bar in partials:
        groups[bar["market"], bar["symbol"], bar["stream"], int(bar["minute"].timestamp()) * 10**6].append(bar)
    return {key: _merged_bar(bars) for key, bars in groups.items()}


def _merged_bar(bars: list[dict[str, Any]]) -> dict[str, Any]:
    first = min(bars, key=lambda bar: bar["open_trade_id"])
    last = max(bars, key=lambda bar: bar["close_trade_id"])
    sums = {
        **{name: sum(units(bar[name], 8) for bar in bars) for name in ("volume", "taker_buy_volume")},
        **{name: sum(units(bar[name], 16) for bar in bars) for name in ("quote_volume", "taker_buy_quote_volume")},
        **{name: sum(bar[name] for bar in bars) for name in ("trades", "agg_trades")},
    }
    return {
        "open": units(first["open"], 8), "high": max(units(bar["high"], 8) for bar in bars),
        "low": min(units(bar["low"], 8) for bar in bars), "close": units(last["close"], 8), **sums,
        "open_trade_id": first["open_trade_id"], "close_trade_id": last["close_trade_id"],
    }  # fmt: skip


def figures(bar: MinuteBar) -> dict[str, Any]:
    return {name: value for name, value in bar._asdict().items() if name in PARTIAL}


@given(TRADES, st.integers(1, 40), st.booleans())
def test_partials_of_any_split_in_any_order_add_up(trades: list[CheckedTrade], size: int, is_coded: bool) -> None:
    pieces = [trades[start : start + size] for start in range(0, len(trades), size)]
    batches = [partial_bars(silver_batch(piece, is_coded=is_coded)) for piece in pieces]
    found = merged([row for batch in batches for row in batch.to_pylist()])

    wanted = {(*bar.key, bar.open_time_us): figures(bar) for bar in bars_of(trades).values()}
    assert found == wanted


def test_sorted_silver_gives_one_partial_per_bar() -> None:
    trades = [
        CheckedTrade(key, number, number, number, SCALE, SCALE, "BUY", NOON_US + number * 1_000_000)
        for key in KEYS
        for number in range(150)
    ]
    assert partial_bars(silver_batch(trades)).num_rows == len(KEYS) * 3


def test_sums_that_might_wrap_are_refused() -> None:
    row = silver_batch([CheckedTrade(KEYS[0], 1, 1, 1, SCALE, SCALE, "BUY", NOON_US)])
    huge = pa.array([Decimal(10**21)], pa.decimal128(38, 16))
    wide = row.set_column(row.schema.get_field_index("quote_qty"), "quote_qty", huge)
    many = pa.Table.from_batches([wide] * 20).combine_chunks().to_batches()[0]
    assert pc.sum(wide["quote_qty"]).as_py() == 10**21
    with pytest.raises(OverflowError, match="38 digits"):
        partial_bars(many)
