"""The checker's own reader of whole Kafka topics: it joins no consumer group and writes nothing.

All other code reads topics with `common.clients.kafka`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from common.errors import StoreUnavailable

_BATCH = 10_000
# The broker answers in milliseconds; half a minute is enough for one that is just starting.
_SILENCE_S = 30.0
_METADATA_S = 10.0

Ends = Mapping[int, tuple[int, int]]


class LogRecord(NamedTuple):
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


class TopicScanner:
    """A reader of whole topics.

    Args:
        bootstrap_servers: host:port of the broker.
    """

    def __init__(self, bootstrap_servers: str) -> None:
        self._servers = bootstrap_servers
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap_servers,
                "group.id": "tickhouse-reconcile",  # librdkafka needs one; it is never joined
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

    def offsets_at(self, topic: str, ends: Ends, time_ms: int) -> dict[int, int]:
        """Return, by partition, the first offset that was written at a time or later.

        A partition without such an offset has its end here.

        Raises:
            StoreUnavailable: The broker does not answer.
        """
        asked = [TopicPartition(topic, partition, max(0, time_ms)) for partition in ends]
        try:
            found = self._consumer.offsets_for_times(asked, timeout=_METADATA_S) if asked else []
        except KafkaException as error:
            raise self._unavailable(topic, str(error.args[0])) from error
        return {part.partition: part.offset if part.offset >= 0 else ends[part.partition][1] for part in found}

    def first(self, topic: str, ends: Ends) -> Iterator[LogRecord]:
        """Yield the first record that each partition still has.

        Raises:
            StoreUnavailable: The broker does not answer, or stops answering.
        """
        begins = {partition: (low, low + 1) for partition, (low, high) in ends.items() if low < high}
        yield from self.scan(topic, begins)

    def scan(self, topic: str, ends: Ends | None = None) -> Iterator[LogRecord]:
        """Yield every record between the given offsets, each partition in order.

        By default these are the present ends of the topic.

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

    def _drain(self, topic: str, ends: Ends, waiting: set[int]) -> Iterator[LogRecord]:
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

    def _record(self, message: Any, ends: Ends, waiting: set[int]) -> LogRecord | None:
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
        return LogRecord(
            message.topic(), partition, offset, message.timestamp()[1], message.key(), message.value(), headers
        )

    def _unavailable(self, topic: str, why: str) -> StoreUnavailable:
        return StoreUnavailable(
            f"Kafka at {self._servers} cannot be read (topic {topic}): {why}.",
            safe="The stores are untouched.",
            next_command="tickhouse status",
        )
