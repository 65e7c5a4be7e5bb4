"""Send whole candles to the compacted topic `crypto.candles`, with the bar as key."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import fastavro
from confluent_kafka import KafkaException, Producer

from common.errors import StoreUnavailable
from common.settings import Settings
from common.topics import CANDLES
from schemas.loading import canonical_text, load
from spark.streaming.decode import SubjectSchemas

FLUSH_S = 30.0


def bar_key(bar: Mapping[str, Any]) -> str:
    """Return the key of a bar: BINANCE:<MARKET>:<SYMBOL>:<stream>:1m:<open time in µs>."""
    open_time: datetime = bar["open_time"]
    return ":".join(
        (
            "BINANCE",
            bar["market"].upper(),
            bar["symbol"],
            bar["stream"],
            "1m",
            str(int(open_time.timestamp()) * 1_000_000),
        )
    )


class CandleTopic:
    """Sends bars to Kafka."""

    def __init__(self, settings: Settings) -> None:
        self._schema = fastavro.parse_schema(load("candle"))
        self._registry = SubjectSchemas(settings.schema_registry_url, f"{CANDLES}-value", canonical_text("candle"))
        self._producer = Producer(
            {
                "bootstrap.servers": settings.kafka_bootstrap_servers,
                "enable.idempotence": True,
                "acks": "all",
                "linger.ms": 5,
                "compression.type": "lz4",
                "client.id": "tickhouse-candles",
                "log_level": 3,
            }
        )

    def send(self, bars: Iterable[Mapping[str, Any]]) -> None:
        """Send whole bars and return once the broker has them.

        Args:
            bars: Rows of `market.candles_1m`.

        Raises:
            StoreUnavailable: The broker did not accept them; the batch is sent again.
        """
        frame = struct.pack(">bI", 0, self._registry.writer_id())
        failures: list[str] = []
        for bar in bars:
            self._produce(bar_key(bar), frame + self._encode(bar), failures)
        unsent = self._producer.flush(FLUSH_S)
        if failures or unsent:
            raise StoreUnavailable(f"Kafka did not accept {unsent + len(failures)} candles: {failures[:1]}.")

    def _produce(self, key: str, value: bytes, failures: list[str]) -> None:
        def on_delivery(error: object, _: object) -> None:
            if error is not None:
                failures.append(str(error))

        try:
            self._producer.produce(CANDLES, key=key, value=value, on_delivery=on_delivery)
        except (BufferError, KafkaException) as error:
            raise StoreUnavailable(f"Kafka did not accept a candle: {error}.") from error

    def _encode(self, bar: Mapping[str, Any]) -> bytes:
        buffer = io.BytesIO()
        fastavro.schemaless_writer(buffer, self._schema, {"exchange": "BINANCE", "interval": "1m", **bar})
        return buffer.getvalue()
