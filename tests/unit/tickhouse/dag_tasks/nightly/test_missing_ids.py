"""Which ids the lake cannot have, within the span of ids that it has."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from common.event_ids import StreamName
from common.intervals import IntervalSet
from tickhouse.dag_tasks.nightly.missing_ids import missing_ids_parquet, missing_within

BTC = StreamName("spot", "BTCUSDT", "aggTrade")
ETH = StreamName("spot", "ETHUSDT", "aggTrade")


def test_gaps_and_rejections_within_the_span() -> None:
    reasons = {"gap": {BTC: [(5, 9), (40, 99)], ETH: [(1, 2)]}, "rejected": {BTC: [(9, 9), (20, 20)]}}
    rows = missing_within({BTC: (7, 50)}, reasons).to_pylist()

    assert [(row["first_id"], row["last_id"], row["reason"]) for row in rows] == [
        (7, 9, "gap"), (40, 50, "gap"), (20, 20, "rejected"),
    ]  # fmt: skip
    assert {row["symbol"] for row in rows} == {"BTCUSDT"}


RANGES = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 8)), max_size=8).map(
    lambda pairs: list(IntervalSet((low, low + length) for low, length in pairs))
)


@given(RANGES, RANGES, st.tuples(st.integers(0, 30), st.integers(0, 40)))
def test_each_missing_id_of_the_span_is_listed_once(gaps, rejected, start_and_length) -> None:
    low, high = start_and_length[0], sum(start_and_length)
    rows = missing_within({BTC: (low, high)}, {"gap": {BTC: gaps}, "rejected": {BTC: rejected}}).to_pylist()

    listed = [number for row in rows for number in range(row["first_id"], row["last_id"] + 1)]
    wanted = {number for first, last in [*gaps, *rejected] for number in range(first, last + 1)}
    assert len(listed) == len(set(listed))
    assert set(listed) == {number for number in wanted if low <= number <= high}


def test_the_same_rows_are_the_same_bytes() -> None:
    reasons = {"gap": {BTC: [(1, 2)]}}
    first = missing_within({BTC: (0, 9)}, reasons)
    second = missing_within({BTC: (0, 9)}, dict(reasons))
    assert missing_ids_parquet(first) == missing_ids_parquet(second)
