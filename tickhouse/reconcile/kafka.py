"""Read Kafka topics from end to end, without a consumer group's memory and without writing anything."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from tickhouse.errors import StoreUnavailable

_BATCH = 10_000
# A broker of the native stack answers in milliseconds; half a minute covers one that is just starting.
_SILENCE_S = 30.0
_METADATA_S = 10.0

Ends = Mapping[int, tuple[int, int]]


class Record(NamedTuple):
    """One record of a topic; `timestamp_ms` is the broker's, headers are UTF-8."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: dict[str, str]

    @property
    def place(self) -> tuple[str, int, int]:
        """Return topic, partition and offset."""
        return self.topic, self.partition, self.offset


class Topics:
    """A reader of whole topics.

    Args:
        bootstrap_servers: host:port of the broker.
    """

    def __init__(self, bootstrap_servers: str) -> None:
        self._servers = bootstrap_servers
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap_servers,
                "group.id": "tickhouse-reconcile",  # never committed to: librdkafka wants a name
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "error",
                "fetch.wait.max.ms": 100,
                "queued.max.messages.kbytes": 65536,
                "log_level": 0,
            }
        )

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()

    def names(self) -> list[str]:
        """Return the names of all topics.

        Raises:
            StoreUnavailable: The broker does not answer.
        """
        try:
            return sorted(self._consumer.list_topics(timeout=_METADATA_S).topics)
        except KafkaException as error:
            raise self._unavailable("any", str(error.args[0])) from error

    def ends(self, topic: str) -> dict[int, tuple[int, int]]:
        """Return, for each partition, its first offset and the one after its last.

        Raises:
            StoreUnavailable: The broker does not answer, or has no such topic.
        """
        try:
            described = self._consumer.list_topics(topic, timeout=_METADATA_S).topics[topic]
            if described.error is not None:
                raise KafkaException(described.error)
            return {
                partition: self._consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=_METADATA_S)
                for partition in sorted(described.partitions)
            }
        except KafkaException as error:
            raise self._unavailable(topic, str(error.args[0])) from error

    def scan(self, topic: str, ends: Ends | None = None) -> Iterator[Record]:
        """Yield every record between the given offsets (now's ends, unless given), each partition in order.

        Raises:
            StoreUnavailable: The broker does not answer, or stops answering.
        """
        ends = self.ends(topic) if ends is None else ends
        waiting = {partition for partition, (low, high) in ends.items() if low < high}
        if not waiting:
            return
        self._consumer.assign([TopicPartition(topic, partition, ends[partition][0]) for partition in sorted(waiting)])
        try:
            yield from self._drain(topic, ends, waiting)
        finally:
            self._consumer.unassign()

    def _drain(self, topic: str, ends: Ends, waiting: set[int]) -> Iterator[Record]:
        deadline = time.monotonic() + _SILENCE_S
        while waiting:
            batch = self._consumer.consume(_BATCH, timeout=0.5)
            if not batch and time.monotonic() > deadline:
                raise self._unavailable(topic, f"no record in {_SILENCE_S:.0f} s")
            if batch:
                deadline = time.monotonic() + _SILENCE_S
            for message in batch:
                record = self._record(message, ends, waiting)
                if record is not None:
                    yield record

    def _record(self, message: Any, ends: Ends, waiting: set[int]) -> Record | None:
        partition, error = message.partition(), message.error()
        if error is not None and error.code() == KafkaError._PARTITION_EOF:
            waiting.discard(partition)
            return None
        if error is not None:
            raise self._unavailable(message.topic(), error.str())
        end, offset = ends[partition][1], message.offset()
        if offset + 1 >= end:
            waiting.discard(partition)
        if offset >= end:
            return None
        headers = {name: (value or b"").decode("utf-8", "replace") for name, value in message.headers() or []}
        return Record(
            message.topic(), partition, offset, message.timestamp()[1], message.key(), message.value(), headers
        )

    def _unavailable(self, topic: str, why: str) -> StoreUnavailable:
        return StoreUnavailable(
            f"Kafka at {self._servers} cannot be read (topic {topic}): {why}.",
            safe="The stores are untouched.",
            next_command="tickhouse status",
        )


def partition_of(key: bytes, partitions: int) -> int:
    """Return the partition of a key, as Kafka's default partitioner chooses it (murmur2, sign bit masked)."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def murmur2(data: bytes) -> int:
    """Return Kafka's 32-bit murmur2 (org.apache.kafka.common.utils.Utils.murmur2, seed 0x9747b28c), unsigned."""
    mask, multiplier = 0xFFFFFFFF, 0x5BD1E995
    result = (0x9747B28C ^ len(data)) & mask
    whole = len(data) // 4 * 4
    for at in range(0, whole, 4):
        part = int.from_bytes(data[at : at + 4], "little") * multiplier & mask
        part = (part ^ part >> 24) * multiplier & mask
        result = result * multiplier & mask ^ part
    if whole < len(data):
        result = (result ^ int.from_bytes(data[whole:], "little")) * multiplier & mask
    result = (result ^ result >> 13) * multiplier & mask
    return result ^ result >> 15
