"""The ledger of one stream: snapshots, the tail of the log, skipped ids."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from common.intervals import IntervalSet
from producer.ledger.stream_ledger import IdStatus, StreamLedger
from tests.unit.producer.fakes import IDS, NOW_US, ledger_of


def test_the_fields_of_a_snapshot():
    ledger = ledger_of(1, 2, 3, 7)
    ledger.offsets = {"0": 4}
    value = json.loads(json.dumps(ledger.head_value(NOW_US)))
    assert {name: value[name] for name in ("v", "market", "symbol", "stream", "writer", "seen", "offsets")} == {
        "v": 1, "market": "spot", "symbol": "BTCUSDT", "stream": "aggTrade", "writer": "live",
        "seen": [[1, 3], [7, 7]], "offsets": {"0": 4},
    }  # fmt: skip
    assert set(value["counts"]) == {
        "received", "delivered", "rejected", "duplicates", "conflicts", "sampled_out", "ignored",
    }  # fmt: skip
    assert value["updated_at_us"] == NOW_US
    assert ledger.name == "spot/BTCUSDT/aggTrade/live"


@given(IDS, IDS)
def test_a_restored_ledger_is_equal_to_one_that_never_stopped(before, after):
    whole = ledger_of(*before, *after)
    first = ledger_of(*before)
    first.offsets = {"0": 1}
    second = StreamLedger("spot", "BTCUSDT", "aggTrade", "live")
    second.restore(first.head_value(NOW_US))
    for number in after:
        if second.status_of(number) is IdStatus.NEW:
            second.take(number, "delivered")
    second.offsets = whole.offsets
    assert second.head_value(NOW_US) == whole.head_value(NOW_US)


@given(IDS, st.integers(0, 40))
def test_an_old_snapshot_and_the_tail_give_every_id(ids, cut):
    """The tail may overlap the snapshot: adding an id twice changes nothing."""
    old = ledger_of(*ids[:cut])
    restored = StreamLedger("spot", "BTCUSDT", "aggTrade", "live")
    restored.restore(old.head_value(NOW_US))
    for number in [*ids[cut:], *ids]:
        restored.add_from_log(number)
    assert restored.own == IntervalSet((number, number) for number in ids)
    assert restored.counts["delivered"] == len(set(ids))


@given(IDS, IDS)
def test_skipped_ids_are_returned_once_and_without_ids_of_others(own, others):
    ledger = StreamLedger("spot", "BTCUSDT", "aggTrade", "live")
    ledger.add_others({"seen": [[number, number] for number in others]})
    skipped = []
    for number in own:
        if ledger.status_of(number) is IdStatus.NEW:
            skipped += [n for low, high in ledger.take(number, "delivered") for n in range(low, high + 1)]
    assert len(skipped) == len(set(skipped))
    assert not set(skipped) & set(others)
