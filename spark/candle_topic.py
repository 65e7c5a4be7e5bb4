"""Whole candles to the compacted topic `crypto.candles`, keyed by bar."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import fastavro
from confluent_kafka import KafkaException, Producer

from schemas.loading import canonical_text, load
from spark.decode import Registry
from tickhouse.errors import StoreUnavailable
from tickhouse.settings import Settings

TOPIC = "crypto.candles"
FLUSH_S = 30.0


def bar_key(bar: Mapping[str, Any]) -> str:
    """Return the key of a bar: BINANCE:<MARKET>:<SYMBOL>:<stream>:1m:<open time in us>."""
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
    """Sends bars; returns once the broker has them."""

    def __init__(self, settings: Settings) -> None:
        self._schema = fastavro.parse_schema(load("candle"))
        self._registry = Registry(settings.schema_registry_url, f"{TOPIC}-value", canonical_text("candle"))
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
        """Send whole bars (rows of `market.candles_1m`).

        Raises:
            StoreUnavailable: The broker did not take them; the batch is sent again.
        """
        frame = struct.pack(">bI", 0, self._registry.writer_id())
        failed: list[str] = []
        for bar in bars:
            self._produce(bar_key(bar), frame + self._encode(bar), failed)
        left = self._producer.flush(FLUSH_S)
        if failed or left:
            raise StoreUnavailable(f"Kafka did not take {left + len(failed)} candles: {failed[:1]}.")

    def _produce(self, key: str, value: bytes, failed: list[str]) -> None:
        def delivered(error: object, _: object) -> None:
            if error is not None:
                failed.append(str(error))

        try:
            self._producer.produce(TOPIC, key=key, value=value, on_delivery=delivered)
        except (BufferError, KafkaException) as error:
            raise StoreUnavailable(f"Kafka did not take a candle: {error}.") from error

    def _encode(self, bar: Mapping[str, Any]) -> bytes:
        buffer = io.BytesIO()
        fastavro.schemaless_writer(buffer, self._schema, {"exchange": "BINANCE", "interval": "1m", **bar})
        return buffer.getvalue()
