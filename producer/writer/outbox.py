"""Send records to Kafka.

The producer is idempotent and drops nothing; the first failure ends the writer.

Commit order, for every snapshot:
1. encode and `send` the events of a batch;
2. `flush`: every event is acknowledged by all in-sync replicas, or `StoreUnavailable` is raised;
3. `send` the ledger snapshots and gap records that cover these events.

A process that is killed between 1 and 3 leaves events that no snapshot covers. The next start finds
them in the log.
"""

from __future__ import annotations

import hashlib
from typing import Final

import confluent_kafka

from common.errors import RejectedRecord, StoreUnavailable
from common.topics import PRODUCER_DEAD_LETTERS

# 40 s at the highest rate measured (2,466 frames/s); at about 0.6 KiB each that is 60 MiB.
QUEUE_RECORDS: Final = 100_000
QUEUE_KIB: Final = 256 * 1024
HIGH_WATER: Final = QUEUE_RECORDS // 2
FLUSH_TIMEOUT_S: Final = 120.0
# A record is key, value, headers and at most 500 bytes of overhead. librdkafka sends at most
# 1,000,000 bytes, and the broker accepts 1,048,588. Besides the raw frame, a trade or tick has less
# than 2,000 bytes (`encoding.events`), an enriched trade less than 3,000, and a dead letter ten
# headers of at most `MAX_HEADER_BYTES`. So no record reaches 1,000,000 bytes.
MAX_RAW_BYTES: Final = 900_000
MAX_LETTER_BYTES: Final = MAX_RAW_BYTES
MAX_HEADER_BYTES: Final = 4_000
_CUT: Final = "…"

Headers = list[tuple[str, str | bytes | None]]


def producer_config(bootstrap: str, *, linger_ms: int = 10) -> dict[str, str | int | bool]:
    """Return librdkafka's configuration: no loss, repeat or reordering while the process lives."""
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
        # Only failures call back: a callback per event costs more than sending the event.
        "delivery.report.only.error": True,
        "message.timeout.ms": 120_000,
    }


class DeliveryReports:
    """librdkafka's delivery callback; keeps the first failure."""

    def __init__(self) -> None:
        self.first_failure: str | None = None

    def on_delivery(self, error: object, message: confluent_kafka.Message) -> None:
        """Keep the failure of a record, when it is the first one."""
        if error is not None and self.first_failure is None:
            self.first_failure = f"{message.topic()}: {error}"


class Outbox:
    """Sends records to topics, and raises once one of them could not be delivered.

    Args:
        producer: The Kafka client.
        reports: Receives the delivery reports of `producer`.
    """

    def __init__(self, producer: confluent_kafka.Producer, reports: DeliveryReports | None = None) -> None:
        self._producer = producer
        self._reports = DeliveryReports() if reports is None else reports
        # The hot path calls this without a wrapper, and `send` when the queue is full
        # (BufferError).
        self.produce = producer.produce

    @classmethod
    def connect(cls, bootstrap: str, *, linger_ms: int = 10) -> Outbox:
        """Return an outbox with a Kafka client of its own."""
        reports = DeliveryReports()
        config = {**producer_config(bootstrap, linger_ms=linger_ms), "on_delivery": reports.on_delivery}
        return cls(confluent_kafka.Producer(config), reports)

    def send(self, topic: str, value: bytes | None, key: bytes | None, headers: Headers | None = None) -> None:
        """Queue one record, waiting while the queue is full.

        Raises:
            StoreUnavailable: An earlier record could not be delivered.
            RejectedRecord: `too_large` for one message.
        """
        while True:
            try:
                self.produce(topic, value, key, headers=headers or [])
                return
            except BufferError:
                self.poll(0.1)
            except confluent_kafka.KafkaException as error:
                raise _refusal(error, topic, len(value or b"")) from error

    def send_dead_letter(self, raw: bytes, headers: dict[str, str], key: str | None = None) -> None:
        """Queue one rejected record as it was received.

        Its key is its event id, or the hash of its bytes.

        A record longer than `MAX_LETTER_BYTES` is cut; two headers hold its length and its sha256.
        """
        digest = hashlib.sha256(raw).hexdigest() if key is None or len(raw) > MAX_LETTER_BYTES else ""
        if len(raw) > MAX_LETTER_BYTES:
            headers = {**headers, "cut_from_bytes": str(len(raw)), "cut_from_sha256": digest}
        encoded: Headers = [(header, _header(text)) for header, text in headers.items()]
        self.send(PRODUCER_DEAD_LETTERS, raw[:MAX_LETTER_BYTES], (key or f"sha256:{digest}").encode(), encoded)

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
        failure = self._reports.first_failure
        if failure is not None:
            raise StoreUnavailable(
                f"Kafka did not accept a record ({failure}).",
                safe="The ledger covers only acknowledged records; the next start finds or fetches the rest.",
                next_command="tickhouse status",
            )

    def queued(self) -> int:
        """Return how many records are not acknowledged yet."""
        return len(self._producer)

    def flush(self, timeout_s: float = FLUSH_TIMEOUT_S) -> None:
        """Wait until every record is acknowledged.

        Raises:
            StoreUnavailable: A record failed, or the time limit passed.
        """
        left = self._producer.flush(timeout_s)
        self.check()
        if left:
            raise StoreUnavailable(
                f"Kafka did not acknowledge {left} records within {timeout_s:g} s.", next_command="tickhouse status"
            )


def check_size(raw: bytes) -> None:
    """Reject a frame whose record would not fit into one Kafka message.

    Raises:
        RejectedRecord: `too_large`.
    """
    if len(raw) > MAX_RAW_BYTES:
        raise RejectedRecord("too_large", f"Expected a frame of at most {MAX_RAW_BYTES:,} bytes, was {len(raw):,}")


def _header(text: str) -> bytes:
    """Return a header's bytes, cut to the limit: text from a frame can be long."""
    encoded = text.encode(errors="backslashreplace")
    if len(encoded) <= MAX_HEADER_BYTES:
        return encoded
    return encoded[: MAX_HEADER_BYTES - len(_CUT.encode())].decode(errors="ignore").encode() + _CUT.encode()


def _refusal(error: confluent_kafka.KafkaException, topic: str, size: int) -> RejectedRecord | StoreUnavailable:
    cause = error.args[0]
    if cause.code() == confluent_kafka.KafkaError.MSG_SIZE_TOO_LARGE:
        return RejectedRecord(
            "too_large", f"Expected a record that fits into one message of {topic}, was {size:,} bytes"
        )
    return StoreUnavailable(f"Kafka did not accept a record ({topic}: {cause}).", next_command="tickhouse status")
