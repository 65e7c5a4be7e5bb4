"""Event ids and record keys."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.symbols import is_symbol
from producer.events import Identity, event_id, record_key, split_event_id

IDS = st.integers(0, 2**63 - 1)
SYMBOLS = st.text(st.characters(whitelist_categories=("Lu", "Nd", "Lo")), min_size=1, max_size=20).filter(is_symbol)


@given(SYMBOLS, IDS, st.sampled_from(["aggTrade", "bookTicker"]))
def test_an_event_id_can_be_split(symbol, number, stream):
    identity = Identity(stream=stream, symbol=symbol, exchange_id=number)
    assert split_event_id(event_id("usdm", identity)) == ("usdm", identity)
    assert record_key("usdm", symbol) == f"BINANCE:USDM:{symbol}".encode()


@pytest.mark.parametrize("text", ["", "sha256:abc", "binance:spot:BTCUSDT:trade:x", "kraken:spot:BTCUSDT:trade:1"])
def test_other_keys_are_not_event_ids(text):
    assert split_event_id(text) is None
