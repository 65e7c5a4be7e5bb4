"""Encoded events against what fastavro reads and writes with the full schema."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import BytesIO

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import RejectedRecord
from producer.encoding.events import Encoder, decode, event_id_of
from producer.events import Identity, Trade, event_id, is_symbol
from producer.parsing.decimals import from_bytes, scaled, to_bytes
from producer.parsing.frames import parse_frame
from schemas import load

DECIMALS = st.decimals(min_value=-(10**20) + 1, max_value=10**20 - 1, places=8, allow_nan=False)
TIMES = st.integers(10**15, 10**16 - 1)
IDS = st.integers(0, 2**63 - 1)
SYMBOLS = st.text(st.characters(whitelist_categories=("Lu", "Nd", "Lo")), min_size=1, max_size=20).filter(is_symbol)
TEXT = st.text(st.characters(blacklist_categories=("Cs",)))
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

TRADES = st.builds(
    Trade,
    stream=st.sampled_from(["aggTrade", "trade"]),
    symbol=SYMBOLS,
    trade_id=IDS,
    first_trade_id=st.integers(-1, 2**63 - 1),
    last_trade_id=st.integers(-1, 2**63 - 1),
    price=DECIMALS.map(lambda number: to_bytes(scaled(format(number, "f")))),
    qty=DECIMALS.map(lambda number: to_bytes(scaled(format(number, "f")))),
    side=st.sampled_from(["BUY", "SELL"]),
    event_us=TIMES,
    trade_us=TIMES,
)


def micros(moment):
    return (moment - EPOCH) // timedelta(microseconds=1)


@given(TRADES, st.sampled_from(["spot", "usdm", "coinm"]), TIMES, TEXT)
def test_trade_round_trip(trade, market, ingest_us, raw):
    name = event_id(market, Identity(stream=trade.stream, symbol=trade.symbol, exchange_id=trade.trade_id))
    encode = Encoder(market, trade_schema_id=7, tick_schema_id=8).trades(trade.symbol, trade.stream, "REST")
    value = encode(name, trade, ingest_us, raw.encode())
    assert value[:5] == b"\0\0\0\0\7"
    record = decode("trade", value)
    assert record["event_id"] == name == event_id_of(value)
    assert (record["exchange"], record["market"], record["source"]) == ("BINANCE", market, "REST")
    for field in ("stream", "symbol", "trade_id", "first_trade_id", "last_trade_id", "side"):
        assert record[field] == getattr(trade, field)
    assert (record["price"], record["qty"]) == (from_bytes(trade.price), from_bytes(trade.qty))
    assert micros(record["event_time"]) == trade.event_us
    assert micros(record["trade_time"]) == trade.trade_us
    assert (micros(record["ingest_time"]), record["raw"]) == (ingest_us, raw)


@given(TRADES, TIMES, TEXT)
def test_trade_bytes_are_those_of_the_full_schema(trade, ingest_us, raw):
    value = Encoder("spot", trade_schema_id=1, tick_schema_id=2).trades(trade.symbol, trade.stream, "REST")(
        "binance:x", trade, ingest_us, raw.encode()
    )
    buffer = BytesIO()
    fastavro.schemaless_writer(buffer, fastavro.parse_schema(load("trade")), decode("trade", value))
    assert buffer.getvalue() == value[5:]


def test_one_encoder_serves_streams_of_different_names():
    encoder = Encoder("spot", trade_schema_id=1, tick_schema_id=2)
    trade = Trade("trade", "BTCUSDT", 1, 1, 1, b"\1", b"\1", "BUY", 10**15, 10**15)
    values = [
        encoder.trades(symbol, "trade", "REST")("binance:x", trade, 10**15, b"")
        for symbol in ("BTCUSDT", "ETHUSDT", "BTCFDUSD")
    ]
    assert [decode("trade", value)["symbol"] for value in values] == ["BTCUSDT", "ETHUSDT", "BTCFDUSD"]


@given(st.lists(DECIMALS, min_size=10, max_size=10), SYMBOLS, TIMES, TIMES, IDS)
def test_ticker_round_trip(numbers, symbol, event_us, ingest_us, count):
    c, o, h, low, v, q, b, bq, a, aq = (format(number, "f") for number in numbers)
    raw = (
        f'{{"stream":"x@ticker","data":{{"e":"24hrTicker","E":{event_us},"s":"{symbol}","c":"{c}","o":"{o}","h":"{h}",'
        f'"l":"{low}","v":"{v}","q":"{q}","b":"{b}","B":"{bq}","a":"{a}","A":"{aq}","n":{count}}}}}'
    )
    tick = parse_frame(raw)
    record = decode("tick", Encoder("spot", trade_schema_id=1, tick_schema_id=2).tick(tick, ingest_us, "REST", raw))
    names = ("last_price", "open_price", "high_price", "low_price", "volume", "quote_volume", "bid_price", "bid_qty",
             "ask_price", "ask_qty")  # fmt: skip
    assert [record[name] for name in names] == numbers
    assert record["event_id"] == f"binance:spot:{symbol}:ticker:{event_us}"
    assert (micros(record["event_time"]), record["trade_count"], record["update_id"]) == (event_us, count, None)


def test_spot_book_ticker_has_no_event_time():
    raw = '{"stream":"x@bookTicker","data":{"u":50093239212,"s":"BTCUSDT","b":"1.5","B":"2","a":"1.6","A":"3"}}'
    tick = parse_frame(raw)
    record = decode("tick", Encoder("spot", trade_schema_id=1, tick_schema_id=2).tick(tick, 10**15, "WEBSOCKET", raw))
    assert (record["event_time"], record["last_price"], record["bid_price"]) == (None, None, Decimal("1.5"))
    assert record["event_id"] == "binance:spot:BTCUSDT:bookTicker:50093239212"


def test_a_trade_that_ends_too_early_is_truncated():
    encode = Encoder("spot", trade_schema_id=1, tick_schema_id=2).trades("BTCUSDT", "trade", "REST")
    value = encode("binance:x", Trade("trade", "BTCUSDT", 1, 1, 1, b"\1", b"\1", "BUY", 10**15, 10**15), 10**15, b"r")
    with pytest.raises(RejectedRecord, match="truncated"):
        decode("trade", value[:-20])
