"""The way into Kafka: one idempotent producer, nothing dropped, any failure fatal.

Contract, in this order for every snapshot:
1. encode and `send` the events of a batch;
2. `flush`: every one of them is acknowledged by all in-sync replicas, or `StoreUnavailable` is raised;
3. `send` the ledger snapshots and gap records that cover them.
A process that dies between 1 and 3 leaves events that no snapshot covers; the next start finds them in the log.
"""

from __future__ import annotations

import hashlib
from typing import Final

import confluent_kafka

from tickhouse.errors import StoreUnavailable

TRADES: Final = "crypto.trades"
TICKS: Final = "crypto.ticks"
LEDGER: Final = "crypto.ledger"
GAPS: Final = "crypto.gaps"
DEAD_LETTERS: Final = "dlq.producer"

# Enough for 15 s of the worst second ever seen (2,466 frames/s at about 0.6 KiB), and far less than memory.
QUEUE_RECORDS: Final = 100_000
QUEUE_KIB: Final = 256 * 1024
HIGH_WATER: Final = QUEUE_RECORDS // 2
FLUSH_TIMEOUT_S: Final = 120.0
# Under the broker's message.max.bytes (1 MiB) with room for key and headers: a longer dead letter is cut, and says so.
MAX_LETTER_BYTES: Final = 900_000

Headers = list[tuple[str, str | bytes | None]]


def producer_config(bootstrap: str, *, linger_ms: int = 10) -> dict[str, str | int | bool]:
    """Return librdkafka's configuration: exactly-once in order per partition while the process lives."""
    return {
        "bootstrap.servers": bootstrap,
        "enable.idempotence": True,
        "acks": "all",
        "compression.type": "lz4",
        "linger.ms": linger_ms,
        # The partition of a key must be the one Java's producers choose.
        "partitioner": "murmur2_random",
        "queue.buffering.max.messages": QUEUE_RECORDS,
        "queue.buffering.max.kbytes": QUEUE_KIB,
        # Only failures call back: a callback an event costs more than the event's own send.
        "delivery.report.only.error": True,
        "message.timeout.ms": 120_000,
    }


class Outbox:
    """Sends bytes to topics and remembers the first failure."""

    def __init__(self, producer: confluent_kafka.Producer) -> None:
        self._producer = producer
        self._failure: str | None = None
        self.produce = producer.produce  # the hot path calls it without a wrapper, and `send` on BufferError

    @classmethod
    def connect(cls, bootstrap: str, *, linger_ms: int = 10) -> Outbox:
        """Return an outbox on a producer made for it."""
        outbox = cls.__new__(cls)
        config = {**producer_config(bootstrap, linger_ms=linger_ms), "on_delivery": outbox._on_delivery}
        outbox.__init__(confluent_kafka.Producer(config))  # type: ignore[misc]
        return outbox

    def _on_delivery(self, error: object, message: confluent_kafka.Message) -> None:
        if error is not None and self._failure is None:
            self._failure = f"{message.topic()}: {error}"

    def send(self, topic: str, value: bytes | None, key: bytes | None, headers: Headers | None = None) -> None:
        """Queue one record; waits while the queue is full.

        Raises:
            StoreUnavailable: An earlier record could not be delivered.
        """
        while True:
            try:
                self.produce(topic, value, key, headers=headers or [])
                return
            except BufferError:
                self.poll(0.1)

    def send_dead_letter(self, raw: bytes, headers: dict[str, str], key: str | None = None) -> None:
        """Queue one rejected record as it came; without an event id its key is the hash of its bytes."""
        name = key or f"sha256:{hashlib.sha256(raw).hexdigest()}"
        if len(raw) > MAX_LETTER_BYTES:
            headers = {**headers, "cut_from_bytes": str(len(raw))}
        encoded: Headers = [(header, text.encode()) for header, text in headers.items()]
        self.send(DEAD_LETTERS, raw[:MAX_LETTER_BYTES], name.encode(), encoded)

    def poll(self, timeout_s: float = 0.0) -> None:
        """Serve delivery reports.

        Raises:
            StoreUnavailable: A record could not be delivered.
        """
        self._producer.poll(timeout_s)
        self.check()

    def check(self) -> None:
        """Raise when a record could not be delivered.

        Raises:
            StoreUnavailable: With the first failure.
        """
        if self._failure is not None:
            raise StoreUnavailable(
                f"Kafka did not take a record ({self._failure}).",
                safe="The ledger covers only what was acknowledged; a new start finds or fetches the rest.",
                next_command="tickhouse status",
            )

    def queued(self) -> int:
        """Return how many records wait for their acknowledgement."""
        return len(self._producer)

    def flush(self, timeout_s: float = FLUSH_TIMEOUT_S) -> None:
        """Wait until every record is acknowledged.

        Raises:
            StoreUnavailable: One failed, or the time is over.
        """
        left = self._producer.flush(timeout_s)
        self.check()
        if left:
            raise StoreUnavailable(
                f"Kafka did not acknowledge {left} records within {timeout_s:g} s.", next_command="tickhouse status"
            )
