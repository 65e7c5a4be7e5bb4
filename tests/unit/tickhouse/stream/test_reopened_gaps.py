"""Ids that are nowhere any more: which they are, and how the ledger forgets them."""

from __future__ import annotations

import base64
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from common.event_ids import StreamName
from common.intervals import IntervalSet
from producer.ledger.snapshots import BLOCK_IDS
from tickhouse.stream.reopened_gaps import (
    gaps_for,
    gone_ids,
    sent_ids,
    snapshots_without,
    stream_of,
)

BTC = StreamName("spot", "BTCUSDT", "aggTrade")
KEY = "spot/BTCUSDT/aggTrade"


def value(seen: list[list[int]], **more: Any) -> dict[str, Any]:
    return {"v": 1, "market": "spot", "symbol": "BTCUSDT", "stream": "aggTrade", "seen": seen, **more}


def bitmap(ids: set[int], block: int) -> str:
    number = sum(1 << (one - block * BLOCK_IDS) for one in ids)
    return base64.b64encode(number.to_bytes(BLOCK_IDS // 8, "little")).decode()


def test_ids_that_no_system_has_become_gaps_and_are_removed_from_every_snapshot() -> None:
    ledger = {f"{KEY}/live": value([[100, 199]]), f"{KEY}/file:ab": value([[150, 160], [300, 309]])}
    held = {BTC: IntervalSet([(100, 154), (158, 199), (300, 308)])}

    gone = gone_ids(sent_ids(ledger), held)
    gaps = gaps_for(gone, 7)
    changed = snapshots_without(ledger, gone)

    assert [(gap.first_id, gap.last_id, gap.state, gap.reason) for gap in gaps] == [
        (155, 157, "open", "expired"), (309, 309, "open", "expired"),
    ]  # fmt: skip
    assert changed[f"{KEY}/live"]["seen"] == [[100, 154], [158, 199]]
    assert changed[f"{KEY}/file:ab"]["seen"] == [[150, 154], [158, 160], [300, 308]]
    assert gone_ids(sent_ids(ledger | changed), held) == {}  # a second run finds nothing


def test_rejected_ids_were_never_sent() -> None:
    ledger = {f"{KEY}/live": value([[1, 10]], rejected=[[4, 5]])}

    assert sent_ids(ledger) == {BTC: IntervalSet([(1, 3), (6, 10)])}


def test_ticks_and_counts_are_not_changed() -> None:
    ledger = {"spot/BTCUSDT/ticker/live": {"buckets": [[1, 5]]}, "spot/*/*/live": {"seen": []}}

    assert sent_ids(ledger) == {}
    assert snapshots_without(ledger, {BTC: IntervalSet([(1, 5)])}) == {}
    assert stream_of("spot/币安人生USDT/aggTrade/live") == StreamName("spot", "币安人生USDT", "aggTrade")


@given(st.sets(st.integers(0, 400)), st.sets(st.integers(0, 400)), st.integers(0, 3))
def test_ids_are_removed_from_a_bitmap_as_from_ranges(ids: set[int], gone: set[int], block: int) -> None:
    first = block * BLOCK_IDS
    part = value([], part=block, seen_bits=bitmap({first + one for one in ids}, block))
    ledger = {f"{KEY}/live/{block}": part}
    wanted = {BTC: IntervalSet((first + one, first + one) for one in gone)}

    after = ledger | snapshots_without(ledger, wanted)

    left = IntervalSet((first + one, first + one) for one in ids - gone)
    assert sent_ids(after)[BTC] == left
    assert len(after[f"{KEY}/live/{block}"]["seen_bits"]) == len(part["seen_bits"])
