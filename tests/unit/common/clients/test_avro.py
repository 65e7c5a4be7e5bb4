"""The decoder reads the producer's values; its errors have the reasons of `dlq.spark`."""

from __future__ import annotations

from contextlib import suppress

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.clients.avro import AvroDecoder, Undecodable, registry_lookup
from common.errors import StoreUnavailable
from producer.encoding.events import Encoder
from producer.events import Trade
from schemas import canonical_text

SCHEMA_ID = 7
TEXTS = {SCHEMA_ID: canonical_text("trade"), 8: "no JSON", 9: '{"type":"string"}'}
UNSCALED = st.integers(-(10**28) + 1, 10**28 - 1)


def framed(price: int, qty: int, time_us: int = 1_723_161_240_100_000) -> bytes:
    numbers = [number.to_bytes(12, "big", signed=True) for number in (price, qty)]
    trade = Trade("aggTrade", "BTCUSDT", 5, 7, 9, *numbers, "BUY", time_us, time_us)
    encode = Encoder("spot", trade_schema_id=SCHEMA_ID, tick_schema_id=0).trades("BTCUSDT", "aggTrade", "REST")
    return encode("binance:spot:BTCUSDT:aggTrade:5", trade, time_us, b"{}")


@given(UNSCALED, UNSCALED)
def test_decimals_are_unscaled_integers_and_times_microseconds(price, qty):
    record = AvroDecoder(TEXTS.get).decode(framed(price, qty))
    assert (record["price"], record["qty"], record["trade_time"]) == (price, qty, 1_723_161_240_100_000)
    assert (record["event_id"], record["first_trade_id"]) == ("binance:spot:BTCUSDT:aggTrade:5", 7)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "empty"),
        (b"", "empty"),
        (b"{}", "bad_magic"),
        (b"\x01\x00\x00\x00\x07", "bad_magic"),
        (b"\x00\x00\x00\x00\x06x", "unknown_schema_id"),
        (b"\x00\x00\x00\x00\x08x", "unknown_schema_id"),
        (b"\x00\x00\x00\x00\x09x", "unknown_schema_id"),
        (framed(1, 1)[:30], "undecodable"),
    ],
)
def test_why_a_value_cannot_be_decoded(value, reason):
    with pytest.raises(Undecodable) as raised:
        AvroDecoder(TEXTS.get).decode(value)
    assert raised.value.reason == reason


@given(st.binary(max_size=60))
def test_any_bytes_decode_or_are_undecodable(body):
    with suppress(Undecodable):
        assert AvroDecoder(TEXTS.get).decode(b"\x00\x00\x00\x00\x07" + body)


def lookup(handler):
    return registry_lookup("http://registry", httpx.Client(transport=httpx.MockTransport(handler)))


def test_the_registry_knows_an_id_or_not():
    def answer(request):
        is_known = request.url.path == "/schemas/ids/7"
        return httpx.Response(200, json={"schema": "text"}) if is_known else httpx.Response(404)

    assert (lookup(answer)(7), lookup(answer)(6)) == ("text", None)


@pytest.mark.parametrize("status", [500, 200])
def test_a_registry_that_fails_is_unavailable(status):
    with pytest.raises(StoreUnavailable, match="does not answer"):
        lookup(lambda _: httpx.Response(status, text="?"))(7)
