"""Frames from memory to Kafka: by our producer (`ours`) or by a hand-written loop (`floor`).

    python -m bench.workers.produce ours|floor|floor_scaled FRAMES

Prints events, wall seconds and CPU seconds from the first frame to the last acknowledgement,
without reading the file, imports and connecting. `floor_scaled` gets its decimals already scaled,
which a real producer cannot have.
"""

from __future__ import annotations

import gc
import json
import struct
import sys
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import confluent_kafka
import fastavro
import msgspec

from bench.harness import ProcessMeter
from bench.market import read_frames
from common.settings import Settings, load_settings

Lines = list[tuple[bytes, "int | None", int]]


def ours(lines: Lines, settings: Settings) -> dict[str, float]:
    """Send frames as `producer.live` does, with ledger snapshots but without sockets."""
    from producer.live import CHUNK, SNAPSHOT_EVERY_S
    from producer.parsing.frames import identify, parse_frame
    from producer.writer.intake import Origin
    from producer.writer.ledger_store import LIVE
    from producer.writer.open_writer import open_writer
    from producer.writer.outbox import HIGH_WATER

    writer = open_writer(settings, market="spot", writer=LIVE)
    origin = Origin("WEBSOCKET", parse_frame, identify, lambda _: "bench")
    freeze()
    meter, saved = ProcessMeter(), time.monotonic()
    for start in range(0, len(lines), CHUNK):
        writer.intake.feed(lines[start : start + CHUNK], origin)
        while writer.outbox.queued() > HIGH_WATER:
            writer.outbox.poll(0.1)
        if time.monotonic() - saved > SNAPSHOT_EVERY_S:
            writer.save()
            saved = time.monotonic()
    writer.close()
    return meter.taken()


class RawTrade(msgspec.Struct, gc=False):
    E: int
    s: str
    a: int
    p: str
    q: str
    f: int
    l: int  # noqa: E741
    T: int
    m: bool


class RawFrame(msgspec.Struct, gc=False):
    stream: str
    data: RawTrade


Scale = Callable[[str], bytes]


def scaled(text: str) -> bytes:
    """Return a decimal number as the bytes of decimal(28,8), without checks."""
    whole, _, part = text.partition(".")
    number = int(whole + part.ljust(8, "0")[:8])
    return number.to_bytes((number.bit_length() + 8) >> 3, "big", signed=True)


def floor(lines: Lines, settings: Settings, scale: Scale = scaled) -> dict[str, float]:
    """Send frames in the shortest loop: decode, encode, produce, without checks or a ledger."""
    from common.topics import TRADES
    from producer.writer.outbox import producer_config
    from schemas import without_logical_types
    from schemas.registry import schema_id

    header = struct.pack(">bI", 0, schema_id(settings.schema_registry_url, f"{TRADES}-value"))
    schema = fastavro.parse_schema(without_logical_types("trade"))
    producer = confluent_kafka.Producer(producer_config(settings.kafka_bootstrap_servers))
    producer.list_topics(TRADES, timeout=30)  # connect first, as the other side does
    decode, write = msgspec.json.Decoder(RawFrame).decode, fastavro.schemaless_writer
    freeze()
    meter = ProcessMeter()
    for number, (raw, received_us, _) in enumerate(lines):
        trade = decode(raw).data
        buffer = BytesIO(header)
        buffer.seek(5)
        write(buffer, schema, _record(trade, raw, received_us, scale))
        _produce(producer, TRADES, buffer.getvalue(), f"BINANCE:SPOT:{trade.s}".encode())
        if number % 500 == 0:
            producer.poll(0)
    producer.flush()
    return meter.taken()


def _record(trade: RawTrade, raw: bytes, received_us: int | None, scale: Scale) -> dict[str, Any]:
    return {
        "event_id": f"binance:spot:{trade.s}:aggTrade:{trade.a}", "exchange": "BINANCE", "market": "spot",
        "stream": "aggTrade", "symbol": trade.s, "trade_id": trade.a, "first_trade_id": trade.f,
        "last_trade_id": trade.l, "price": scale(trade.p), "qty": scale(trade.q),
        "side": "SELL" if trade.m else "BUY", "event_time": trade.E * 1000, "trade_time": trade.T * 1000,
        "ingest_time": received_us, "source": "WEBSOCKET", "raw": raw.decode(),
    }  # fmt: skip


def _produce(producer: confluent_kafka.Producer, topic: str, value: bytes, key: bytes) -> None:
    while True:
        try:
            producer.produce(topic, value, key)
            return
        except BufferError:
            producer.poll(0.1)


def floor_scaled(lines: Lines, settings: Settings) -> dict[str, float]:
    """Send frames as `floor` does, with the decimals looked up in a prepared table."""
    decode = msgspec.json.Decoder(RawFrame).decode
    trades = [decode(raw).data for raw, _, _ in lines]
    texts = {text for trade in trades for text in (trade.p, trade.q)}
    table = {text: scaled(text) for text in texts}
    del trades
    return floor(lines, settings, table.__getitem__)


def freeze() -> None:
    """Exclude what is loaded from garbage collection, as `producer live` does."""
    gc.collect()
    gc.freeze()


SIDES = {"ours": ours, "floor": floor, "floor_scaled": floor_scaled}


def main(side: str, path: str) -> None:
    """Run one side."""
    now_us = time.time_ns() // 1000
    lines: Lines = [(frame, now_us, 0) for frame in read_frames(Path(path))]
    figures = SIDES[side](lines, load_settings())
    print(json.dumps({"events": len(lines), **figures}))


if __name__ == "__main__":
    main(*sys.argv[1:])
