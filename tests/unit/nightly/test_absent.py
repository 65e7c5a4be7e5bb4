"""Which ids the lake cannot have, within what it has."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tickhouse.nightly.absent import absent_of, to_parquet
from tickhouse.reconcile.model import StreamKey
from tickhouse.reconcile.ranges import merged

BTC = StreamKey("spot", "BTCUSDT", "aggTrade")
ETH = StreamKey("spot", "ETHUSDT", "aggTrade")


def test_gaps_and_rejections_within_the_span() -> None:
    reasons = {"gap": {BTC: [(5, 9), (40, 99)], ETH: [(1, 2)]}, "rejected": {BTC: [(9, 9), (20, 20)]}}
    rows = absent_of({BTC: (7, 50)}, reasons).to_pylist()

    assert [(row["first_id"], row["last_id"], row["reason"]) for row in rows] == [
        (7, 9, "gap"), (40, 50, "gap"), (20, 20, "rejected"),
    ]  # fmt: skip
    assert {row["symbol"] for row in rows} == {"BTCUSDT"}


RANGES = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 8)), max_size=8).map(
    lambda pairs: merged([(low, low + length) for low, length in pairs])
)


@given(RANGES, RANGES, st.tuples(st.integers(0, 30), st.integers(0, 40)))
def test_every_absent_id_of_the_span_is_told_once(gaps, rejected, start_and_length) -> None:
    low, high = start_and_length[0], sum(start_and_length)
    rows = absent_of({BTC: (low, high)}, {"gap": {BTC: gaps}, "rejected": {BTC: rejected}}).to_pylist()

    told = [number for row in rows for number in range(row["first_id"], row["last_id"] + 1)]
    wanted = {number for first, last in [*gaps, *rejected] for number in range(first, last + 1)}
    assert len(told) == len(set(told))
    assert set(told) == {number for number in wanted if low <= number <= high}


def test_the_same_rows_are_the_same_bytes() -> None:
    reasons = {"gap": {BTC: [(1, 2)]}}
    assert to_parquet(absent_of({BTC: (0, 9)}, reasons)) == to_parquet(absent_of({BTC: (0, 9)}, dict(reasons)))
