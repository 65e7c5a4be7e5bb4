"""Mapper and reducer give the same exact sums for any split of the lines and any combiners."""

from __future__ import annotations

import subprocess
from collections import defaultdict
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.settings import REPO
from mapreduce.mapper import mapped
from mapreduce.reducer import reduced

QUANTITIES = st.decimals("0.00000001", "99999999999999999999", places=8)
TRADES = st.lists(st.tuples(st.sampled_from("AB"), st.integers(0, 2_000_000_000_000_000), QUANTITIES), max_size=50)


def line(symbol: str, time_us: int, quantity: object) -> str:
    return f"spot\t{symbol}\taggTrade\t{time_us}\t{quantity}\n"


@given(TRADES, st.integers(1, 5))
def test_sums_are_exact_for_any_split_and_combination(trades: list[tuple[str, int, Decimal]], parts: int) -> None:
    expected: dict[str, Fraction] = defaultdict(Fraction)
    for symbol, time_us, quantity in trades:
        month = datetime.fromtimestamp(time_us // 1_000_000, UTC).strftime("%Y-%m")
        expected[f"spot:{symbol}:aggTrade:{month}"] += Fraction(quantity)

    lines = [line(*trade) for trade in trades]
    combined = [one for part in range(parts) for one in reduced(sorted(mapped(lines[part::parts])))]
    answer = dict(one.rstrip("\n").split("\t") for one in reduced(sorted(combined)))

    assert {key: Fraction(value) for key, value in answer.items()} == expected


@pytest.mark.parametrize("bad", ["", "spot\tA\taggTrade\t1", line("A", 1, 1).rstrip() + "\tmore", "a\tb\tc\tsoon\t1"])
def test_a_line_that_is_no_trade_ends_the_mapper(bad: str) -> None:
    with pytest.raises(ValueError, match=r"unpack|invalid literal"):
        list(mapped([bad]))


def test_they_run_as_programs_in_a_pipe() -> None:
    text = line("A", 1_709_251_199_999_999, "1E-8") + line("A", 1_709_251_200_000_000, "2") + line("A", 0, "3")
    pipe = "./mapreduce/mapper.py | sort | ./mapreduce/reducer.py"
    done = subprocess.run(["sh", "-c", pipe], cwd=REPO, input=text, capture_output=True, text=True, check=True)
    sums = [
        f"spot:A:aggTrade:{month}\t{sum_}"
        for month, sum_ in (("1970-01", 3), ("2024-02", "0.00000001"), ("2024-03", 2))
    ]
    assert done.stdout.splitlines() == sums
