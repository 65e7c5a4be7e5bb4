"""Measures of a market, against values worked out by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickhouse.read.measures import order_flow_imbalance, return_correlations, volatility_by_hour

START = datetime(2024, 8, 8, 10, 58, tzinfo=UTC)
PRICE = pa.decimal128(28, 8)


def bars(closes: list[str], *, start: datetime = START, step: timedelta = timedelta(minutes=1)) -> pa.Table:
    times = [start + number * step for number in range(len(closes))]
    return pa.table(
        {
            "open_time": pa.array(times, pa.timestamp("us", "UTC")),
            "close": pa.array([Decimal(close) for close in closes], PRICE),
        }
    )


def volumes(*pairs: tuple[str, str]) -> pa.Table:
    times = [START + timedelta(minutes=number) for number in range(len(pairs))]
    return pa.table(
        {
            "open_time": pa.array(times, pa.timestamp("us", "UTC")),
            "volume": pa.array([Decimal(whole) for whole, _ in pairs], pa.decimal128(38, 8)),
            "taker_buy_volume": pa.array([Decimal(bought) for _, bought in pairs], pa.decimal128(38, 8)),
        }
    )


def column(table: pa.Table, name: str) -> list[Any]:
    return list(table[name].to_pylist())


def test_imbalance_is_bought_minus_sold_over_both() -> None:
    # (3 - 1) / 4, (1 - 2) / 3, all bought, all sold, nothing traded
    found = order_flow_imbalance(volumes(("4", "3"), ("3", "1"), ("2", "2"), ("2", "0"), ("0", "0")))

    assert column(found, "sell_volume") == [1, 2, 0, 2, 0]
    assert column(found, "imbalance") == [Decimal("0.5"), Decimal("-0.333333333333"), 1, -1, None]
    assert column(found, "open_time")[0] == START


def test_imbalance_is_exact_where_a_float_is_not() -> None:
    found = order_flow_imbalance(volumes(("123456789012345678901.00000003", "123456789012345678901.00000002")))

    assert column(found, "sell_volume") == [Decimal("0.00000001")]


def test_volatility_of_an_hour_is_the_root_of_its_squared_returns() -> None:
    # 10:58 100, 10:59 110 (+10 %), 11:00 99 (-10 %), 11:01 99 (0), 11:02 118.8 (+20 %)
    found = volatility_by_hour(bars(["100", "110", "99", "99", "118.8"]))

    assert found.to_pylist() == [
        {"hour": 10, "days": 1, "variance": Decimal("0.01"), "volatility": Decimal("0.1")},
        # 0.01 + 0 + 0.04 = 0.05, and its root
        {"hour": 11, "days": 1, "variance": Decimal("0.05"), "volatility": Decimal("0.223606797750")},
    ]


def test_volatility_is_the_mean_over_days_and_crosses_no_midnight() -> None:
    # Day 1: +10 % at 10:59. Day 2: +30 % at 10:59. Between them the price doubles, which does not
    # count.
    two_days = pa.concat_tables([bars(["100", "110"]), bars(["220", "286"], start=START + timedelta(days=1))])
    found = volatility_by_hour(two_days)

    # (0.01 + 0.09) / 2 = 0.05
    assert found.to_pylist() == [
        {"hour": 10, "days": 2, "variance": Decimal("0.05"), "volatility": Decimal("0.223606797750")}
    ]


def test_correlation_of_returns() -> None:
    # x: +10 %, -10 %, +20 %, 0 %; y: +20 %, +10 %, -10 %, 0 %; z = x doubled.
    symbols = {
        "X": bars(["100", "110", "99", "118.8", "118.8"]),
        "Y": bars(["100", "120", "132", "118.8", "118.8"]),
        "Z": bars(["100", "120", "96", "134.4", "134.4"]),
        "FLAT": bars(["5", "5", "5", "5", "5"]),
    }
    found = {(row["symbol"], row["other"]): row["correlation"] for row in return_correlations(symbols).to_pylist()}

    # n = 4, in tenths: Σx = 2, Σy = 2, Σx² = 6, Σy² = 6, Σxy = 2 - 1 - 2 + 0 = -1
    # (4·-1 - 2·2) / √((4·6 - 2²)·(4·6 - 2²)) = -8 / 20
    assert found["X", "Y"] == Decimal("-0.4")
    assert found["X", "Z"] == 1
    assert found["X", "X"] == 1
    assert found["FLAT", "X"] is None
    assert len(found) == 10


def test_correlation_uses_the_times_that_both_have() -> None:
    later = bars(["110", "99", "118.8", "118.8"], start=START + timedelta(minutes=1))
    pair = return_correlations({"A": bars(["100", "110", "99", "118.8", "118.8"]), "B": later}).to_pylist()[1]

    assert (pair["symbol"], pair["other"], pair["returns"], pair["correlation"]) == ("A", "B", 3, 1)


def test_without_rows_there_is_nothing() -> None:
    assert order_flow_imbalance(volumes()).num_rows == 0
    assert volatility_by_hour(bars(["1"])).num_rows == 0
    assert return_correlations({"A": bars(["1"])}).to_pylist() == [
        {"symbol": "A", "other": "A", "returns": 0, "correlation": None}
    ]


@given(st.lists(st.integers(1, 10**9), min_size=3, max_size=30), st.lists(st.integers(1, 10**9), min_size=30))
def test_a_correlation_is_between_minus_one_and_one(xs: list[int], ys: list[int]) -> None:
    tables = {"A": bars([str(x) for x in xs]), "B": bars([str(y) for y in ys[: len(xs)]])}

    for value in column(return_correlations(tables), "correlation"):
        assert value is None or -1 <= value <= 1


@pytest.mark.parametrize(("bought", "sold"), [("1", "2"), ("0.00000001", "99999999"), ("7", "7")])
def test_imbalance_changes_sign_with_the_sides(bought: str, sold: str) -> None:
    whole = str(Decimal(bought) + Decimal(sold))
    one, other = column(order_flow_imbalance(volumes((whole, bought), (whole, sold))), "imbalance")

    assert one == -other
