from __future__ import annotations

import io
import json
import struct

import fastavro
import pytest

from common.kafka_partitions import partition_of
from common.settings import REPO
from tests.unit.tickhouse.checks.reconcile.samples import BTC, ETH, trade
from tickhouse.checks.reconcile.avro import UndecodableValue, ValueDecoder
from tickhouse.checks.reconcile.kafka import LogRecord
from tickhouse.checks.reconcile.kafka_records import UndecodableRecord, enriched_fault, tick_ids, trade_rows
from tickhouse.checks.reconcile.model import plain

TEXTS = {
    number: (REPO / "schemas" / f"{name}.avsc").read_text()
    for number, name in ((1, "trade"), (2, "tick"), (3, "enriched_trade"))
}


def framed(schema_id, fields):
    body = io.BytesIO()
    fastavro.schemaless_writer(body, fastavro.parse_schema(json.loads(TEXTS[schema_id])), fields)
    return struct.pack(">bI", 0, schema_id) + body.getvalue()


def trade_fields(one, **changes):
    from datetime import UTC, datetime, timedelta
    from decimal import Decimal

    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=one.time_us)
    return {
        "event_id": one.event_id, "exchange": "BINANCE", "market": one.key.market, "stream": one.key.stream,
        "symbol": one.key.symbol, "trade_id": one.trade_id, "first_trade_id": one.first_id,
        "last_trade_id": one.last_id,
        "price": Decimal(plain(one.price)), "qty": Decimal(plain(one.qty)), "side": one.side, "event_time": moment,
        "trade_time": moment, "ingest_time": moment, "source": "ARCHIVE", "raw": "{}",
    } | changes  # fmt: skip


def message(one, value=None, key=None, partition=None, offset=0):
    key = f"BINANCE:{one.key.market.upper()}:{one.key.symbol}".encode() if key is None else key
    partition = partition_of(key, 3) if partition is None else partition
    return LogRecord(
        "crypto.trades", partition, offset, 0, key, framed(1, trade_fields(one)) if value is None else value, {}
    )


def rows(*messages):
    broken: list[UndecodableRecord] = []
    return list(trade_rows(messages, ValueDecoder(TEXTS.get), 3, broken)), broken


def test_a_record_is_decoded_to_scaled_integers():
    one = trade(5, price=-1, qty=10**28 - 1)
    found, broken = rows(message(one, offset=4))
    assert (found[0].trade, found[0].fault, found[0].place[2], broken) == (one, "", 4, [])


def test_a_record_under_another_key_is_a_fault():
    assert "its key is" in rows(message(trade(1), key=b"BINANCE:SPOT:ETHUSDT"))[0][0].fault


def test_a_record_in_another_partition_is_a_fault():
    own = partition_of(b"BINANCE:SPOT:BTCUSDT", 3)
    faults = [rows(message(trade(1), partition=partition))[0][0].fault for partition in range(3)]
    assert [bool(fault) for fault in faults] == [partition != own for partition in range(3)]


def test_an_event_id_that_contradicts_its_fields_is_a_fault():
    value = framed(1, trade_fields(trade(1), event_id="binance:spot:BTCUSDT:aggTrade:2"))
    assert "its event_id is" in rows(message(trade(1), value=value))[0][0].fault


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", "empty"),
        (None, "empty"),
        (b"\x00\x00", "bad_magic"),
        (b"\x01\x00\x00\x00\x01abc", "bad_magic"),
        (b"\x00\x00\x00\x00\x63abc", "unknown_schema_id"),
        (b"\x00\x00\x00\x00\x01\x05", "undecodable"),
        (framed(1, trade_fields(trade(1)))[:-30], "undecodable"),
    ],
)
def test_broken_bytes_have_the_dead_letters_reason(value, reason):
    record = LogRecord("crypto.trades", 1, 7, 0, b"k", value, {})
    broken: list[UndecodableRecord] = []
    assert list(trade_rows([record], ValueDecoder(TEXTS.get), 3, broken)) == []
    assert (broken[0].reason, broken[0].dead_letter_key) == (reason, "crypto.trades-1-7")


def test_a_registry_schema_that_is_no_record_is_unknown():
    with pytest.raises(UndecodableValue, match="unknown_schema_id"):
        ValueDecoder({9: '"string"'}.get).decode(b"\x00\x00\x00\x00\x09\x02a")


def test_enrichment_is_a_function_of_the_trade():
    one = trade(3)
    right = {
        "base": "BTC", "quote": "USDT", "pair": "BTC-USDT", "quote_qty": one.price * one.qty, "is_sentinel": False,
        "minute": one.minute_us, "source": "SIMULATED",
    }  # fmt: skip
    assert enriched_fault(right, one) == ""
    wrong = [
        ("base", "ETH"),
        ("pair", "BTC/USDT"),
        ("quote_qty", 1),
        ("is_sentinel", True),
        ("minute", one.minute_us + 1),
        ("source", "WEBSOCKET"),
    ]
    for name, value in wrong:
        assert enriched_fault(right | {name: value}, one)


def test_ticks_are_read_by_id():
    fields = {
        "event_id": "binance:spot:ETHUSDT:bookTicker:5", "exchange": "BINANCE", "market": "spot", "raw": "{}",
        "stream": "bookTicker", "symbol": ETH.symbol, "update_id": 5, "ingest_time": 0, "source": "WEBSOCKET",
    }  # fmt: skip
    key = b"BINANCE:SPOT:ETHUSDT"
    record = LogRecord("crypto.ticks", partition_of(key, 3), 0, 0, key, framed(2, fields), {})
    broken: list[UndecodableRecord] = []
    records = [record, record._replace(key=b"x"), record._replace(value=b"")]
    found = list(tick_ids(records, ValueDecoder(TEXTS.get), 3, broken))
    assert [bool(fault) for _, fault in found] == [False, True]
    assert len(broken) == 1


def test_streams_of_one_symbol_share_a_partition():
    assert rows(message(trade(1)), message(trade(1, key=BTC._replace(stream="trade"))))[0][1].fault == ""
