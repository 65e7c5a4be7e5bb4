"""Events to the bytes of Kafka values: Avro under Confluent's framing (0x00, 4-byte big-endian schema id)."""

from __future__ import annotations

import struct
from io import BytesIO
from typing import Any, Final, cast

import fastavro

from producer.events import Tick, Trade, event_prefix
from producer.frames import tick_values
from schemas import load, without_logical_types
from tickhouse.errors import RejectedRecord

HEADER_BYTES: Final = 5
EXCHANGE: Final = "BINANCE"

# Decimals and times are given as they go on the wire, which saves half of the encoder's time: same bytes.
_TRADE: Final = fastavro.parse_schema(without_logical_types("trade"))
_TICK: Final = fastavro.parse_schema(without_logical_types("tick"))
_FULL: Final = {name: fastavro.parse_schema(load(name)) for name in ("trade", "tick")}
_TICK_EMPTY: Final[dict[str, Any]] = {
    field["name"]: None for field in load("tick")["fields"] if isinstance(field["type"], list)
}


class Encoder:
    """Writes the trades and ticks of one market and source; holds one buffer, so one encoder a thread."""

    def __init__(self, market: str, source: str, *, trade_schema_id: int, tick_schema_id: int) -> None:
        self.market, self.source = market, source
        self._trade = struct.pack(">bI", 0, trade_schema_id)
        self._tick = struct.pack(">bI", 0, tick_schema_id)
        self._buffer = BytesIO()
        self._write = fastavro.schemaless_writer

    def trade(self, event_id: str, trade: Trade, ingest_us: int, raw: str) -> bytes:
        """Return the framed value of one trade."""
        buffer = self._buffer
        buffer.seek(0)
        buffer.write(self._trade)
        self._write(
            buffer,
            _TRADE,
            {
                "event_id": event_id, "exchange": EXCHANGE, "market": self.market, "stream": trade.stream,
                "symbol": trade.symbol, "trade_id": trade.trade_id, "first_trade_id": trade.first_trade_id,
                "last_trade_id": trade.last_trade_id, "price": trade.price, "qty": trade.qty, "side": trade.side,
                "event_time": trade.event_us, "trade_time": trade.trade_us, "ingest_time": ingest_us,
                "source": self.source, "raw": raw,
            },
        )  # fmt: skip
        buffer.truncate()
        return buffer.getvalue()

    def tick(self, tick: Tick, ingest_us: int, raw: str) -> bytes:
        """Return the framed value of one tick.

        Raises:
            RejectedRecord: One of its numbers is none, or does not fit.
        """
        prefix = event_prefix(self.market, tick.symbol, tick.stream)
        record = {
            **_TICK_EMPTY, **tick_values(tick), "event_id": f"{prefix}{tick.exchange_id}", "exchange": EXCHANGE,
            "market": self.market, "stream": tick.stream, "symbol": tick.symbol, "update_id": tick.update_id,
            "event_time": tick.event_us, "ingest_time": ingest_us, "source": self.source, "raw": raw,
        }  # fmt: skip
        buffer = BytesIO()
        buffer.write(self._tick)
        self._write(buffer, _TICK, record)
        return buffer.getvalue()


def decode(name: str, value: bytes) -> dict[str, Any]:
    """Return a framed value of topic schema `trade` or `tick` with decimals and UTC times.

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
    """Return the event id of a framed trade or tick without decoding the rest: it is the first field.

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
