from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.event_ids import StreamName, parse_event_id
from producer.events import Identity, event_id, record_key

PARTS = st.text("ABC123_-.币", min_size=1, max_size=6)


@given(PARTS, st.sampled_from(["aggTrade", "trade", "ticker"]), st.integers(0, 2**63 - 1))
def test_an_event_id_reads_back(symbol, stream, number):
    text = event_id("spot", Identity(stream, symbol, number))
    assert parse_event_id(text) == (StreamName("spot", symbol, stream), number)


@given(PARTS)
def test_the_kafka_key_is_the_producers(symbol):
    assert StreamName("usdm", symbol, "trade").kafka_key == record_key("usdm", symbol)


@pytest.mark.parametrize(
    "text", ["", "sha256:00", "binance:spot:BTCUSDT:aggTrade", "binance:a:b:c:-5", "binance:a:b:c:\u00b2", "x:a:b:c:5"]
)
def test_what_is_no_event_id(text):
    with pytest.raises(ValueError, match="Expected binance:"):
        parse_event_id(text)
