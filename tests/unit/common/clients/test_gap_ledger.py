"""Snapshots of the producer, read back by the public client."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.clients.gap_ledger import PART_IDS, delivered_ids, gap_ids, ids_of, read_gaps, read_ledger
from common.errors import ConfigurationError
from common.event_ids import StreamName
from common.intervals import IntervalSet

STREAM = {"market": "spot", "symbol": "BTCUSDT", "stream": "aggTrade"}
BTC = StreamName(**STREAM)


class Topics:
    """Replaces Kafka: holds the latest values of each topic."""

    def __init__(self, **values):
        self.values = {f"crypto.{name}": value for name, value in values.items()}

    def latest(self, topic):
        return self.values[topic]


@given(st.sets(st.integers(0, PART_IDS - 1), max_size=50), st.integers(0, 9))
def test_a_bitmap_holds_the_ids_whose_bits_are_set(offsets, part):
    bitmap = bytearray(PART_IDS // 8)
    for offset in offsets:
        bitmap[offset // 8] |= 1 << offset % 8
    value = {"seen": [[5, 6]], "seen_bits": base64.b64encode(bitmap).decode(), "part": part}

    ids = {number for low, high in ids_of(value, "seen") for number in range(low, high + 1)}
    assert ids == {5, 6} | {part * PART_IDS + offset for offset in offsets}


def test_an_id_is_delivered_when_one_writer_has_seen_and_not_rejected_it():
    ledger = [
        STREAM | {"writer": "live", "seen": [[1, 9]], "rejected": [[4, 5]]},
        STREAM | {"writer": "file", "seen": [[5, 5], [20, 20]], "rejected": []},
        STREAM | {"writer": "old", "seen": [[30, 30]]},
    ]
    assert delivered_ids(ledger) == {BTC: IntervalSet([(1, 3), (5, 9), (20, 20)])}


def test_gaps_by_state():
    gaps = [
        STREAM | {"first_id": 1, "last_id": 3, "state": "open"},
        STREAM | {"first_id": 7, "last_id": 9, "state": "filled"},
        STREAM | {"first_id": 4, "last_id": 4, "state": "unfillable"},
    ]
    assert gap_ids(gaps, ["open", "unfillable"]) == {BTC: IntervalSet([(1, 4)])}


def test_a_value_that_is_not_a_ledger_entry_is_an_error():
    head = STREAM | {"seen": []}
    assert read_ledger(Topics(ledger={"a": head})) == [head]
    with pytest.raises(ConfigurationError, match=r"crypto\.ledger holds a value under 'a'"):
        read_ledger(Topics(ledger={"a": STREAM}))
    with pytest.raises(ConfigurationError, match=r"crypto\.gaps holds a value under 'b'"):
        read_gaps(Topics(gaps={"b": [1]}))
