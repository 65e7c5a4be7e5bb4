"""Encode events as Kafka values, and decode them.

A value is Avro in Confluent's framing: 0x00, then the schema id as 4 bytes, big-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from io import BytesIO
from typing import Any, Final, TypeAlias, cast

import fastavro
from fastavro import schemaless_writer

from common.errors import RejectedRecord
from producer.encoding.varint import LENGTHS, length, varint
from producer.events import Tick, Trade, event_prefix
from producer.parsing.frames import tick_values
from schemas import load, without_logical_types

HEADER_BYTES: Final = 5

EncodeTrade: TypeAlias = Callable[[str, Trade, int, bytes], bytes]
EXCHANGE: Final = "BINANCE"

# Decimals and times are passed in their wire form: encoding gives the same bytes in half the time.
_TICK: Final = fastavro.parse_schema(without_logical_types("tick"))
_FULL: Final = {name: fastavro.parse_schema(load(name)) for name in ("trade", "tick")}
_TICK_EMPTY: Final[dict[str, Any]] = {
    field["name"]: None for field in load("tick")["fields"] if isinstance(field["type"], list)
}


# Fields that are the same for every trade of a stream; they are adjacent in trade.avsc.
_CONSTANT: Final = ("exchange", "market", "stream", "symbol")


def _string(text: str) -> bytes:
    """Return a string as Avro writes it."""
    encoded = text.encode()
    return length(len(encoded)) + encoded


_BUY: Final = _string("BUY")
_SELL: Final = _string("SELL")


class Encoder:
    """Encodes the trades and ticks of one market."""

    def __init__(self, market: str, *, trade_schema_id: int, tick_schema_id: int) -> None:
        self.market = market
        self._trade = struct.pack(">bI", 0, trade_schema_id)
        self._tick = struct.pack(">bI", 0, tick_schema_id)

    def trades(self, symbol: str, stream: str, source: str) -> EncodeTrade:
        """Return the encoder of one stream.

        Its arguments are event id, trade, ingest time in µs and raw UTF-8; it returns a framed
        value. It writes the fields in the order of trade.avsc without fastavro, which is too slow
        here (see `producer.encoding.varint`).
        """
        values = {"exchange": EXCHANGE, "market": self.market, "stream": stream, "symbol": symbol}
        header, origin, join = self._trade, _string(source), b"".join
        constant = join(_string(values[name]) for name in _CONSTANT)

        def encode(event_id: str, trade: Trade, ingest_us: int, raw: bytes) -> bytes:
            name, price, qty = event_id.encode(), trade.price, trade.qty
            first, last = trade.first_trade_id, trade.last_trade_id
            first_bytes = varint(first)
            return join(
                (
                    header, LENGTHS[len(name)], name, constant,
                    varint(trade.trade_id), first_bytes, first_bytes if first == last else varint(last),
                    LENGTHS[len(price)], price, LENGTHS[len(qty)], qty, _BUY if trade.side == "BUY" else _SELL,
                    varint(trade.event_us), varint(trade.trade_us), varint(ingest_us),
                    origin, length(len(raw)), raw,
                )
            )  # fmt: skip

        return encode

    def tick(self, tick: Tick, ingest_us: int, source: str, raw: str) -> bytes:
        """Return the framed value of one tick.

        Raises:
            RejectedRecord: One of its numbers is not a decimal number, or does not fit.
        """
        prefix = event_prefix(self.market, tick.symbol, tick.stream)
        record = {
            **_TICK_EMPTY, **tick_values(tick), "event_id": f"{prefix}{tick.exchange_id}", "exchange": EXCHANGE,
            "market": self.market, "stream": tick.stream, "symbol": tick.symbol, "update_id": tick.update_id,
            "event_time": tick.event_us, "ingest_time": ingest_us, "source": source, "raw": raw,
        }  # fmt: skip
        buffer = BytesIO()
        buffer.write(self._tick)
        schemaless_writer(buffer, _TICK, record)
        return buffer.getvalue()


def decode(name: str, value: bytes) -> dict[str, Any]:
    """Decode a framed value of schema `trade` or `tick`, with decimals and UTC times.

    Raises:
        RejectedRecord: `truncated` or `unknown_format`.
    """
    if len(value) < HEADER_BYTES or value[0] != 0:
        raise RejectedRecord("unknown_format", f"Expected a Confluent frame, was {value[:8]!r}")
    try:
        record: Any = fastavro.schemaless_reader(BytesIO(value[HEADER_BYTES:]), _FULL[name], None)
    except (EOFError, IndexError, ValueError, OverflowError) as error:
        raise RejectedRecord("truncated", f"Expected a {name} in Avro, was {error!r}") from error
    return cast("dict[str, Any]", record)


def event_id_of(value: bytes) -> str:
    """Return the event id of a framed trade or tick; it is the first field.

    Raises:
        RejectedRecord: `truncated` or `unknown_format`.
    """
    if len(value) < HEADER_BYTES + 1 or value[0] != 0:
        raise RejectedRecord("unknown_format", f"Expected a Confluent frame, was {value[:8]!r}")
    length, at = _long(value, HEADER_BYTES)
    if length < 0 or at + length > len(value):
        raise RejectedRecord("truncated", f"Expected an event id of {length} bytes, was {len(value) - at}")
    try:
        return value[at : at + length].decode()
    except UnicodeDecodeError as error:
        raise RejectedRecord("not_utf8", f"Expected an event id, was {value[at : at + length][:40]!r}") from error


def _long(value: bytes, at: int) -> tuple[int, int]:
    """Return (number, next position) of Avro's zig-zag varint."""
    number = shift = 0
    for position in range(at, min(at + 10, len(value))):
        byte = value[position]
        number |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return (number >> 1) ^ -(number & 1), position + 1
    raise RejectedRecord("truncated", "Expected a varint, was the end of the value")
