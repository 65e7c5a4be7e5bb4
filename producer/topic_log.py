"""Read Kafka topics from given offsets to their present end."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from tickhouse.errors import StoreUnavailable

TIMEOUT_S: Final = 30.0
BATCH: Final = 5_000
CONSUME_S: Final = 0.05


class TopicLog:
    """A reader without a group: it commits nothing and disturbs nobody."""

    def __init__(self, bootstrap: str) -> None:
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "tickhouse-producer-reader",  # librdkafka wants one; it is never joined
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
            }
        )

    def close(self) -> None:
        """Let go of the connection."""
        self._consumer.close()

    def bounds(self, topic: str) -> dict[int, tuple[int, int]]:
        """Return (first kept, next) offset by partition.

        Raises:
            StoreUnavailable: The broker does not answer, or has no such topic.
        """
        try:
            found = self._consumer.list_topics(topic, timeout=TIMEOUT_S).topics[topic]
            if found.error is not None:
                raise KafkaException(found.error)
            return {
                part: self._consumer.get_watermark_offsets(TopicPartition(topic, part), timeout=TIMEOUT_S)
                for part in found.partitions
            }
        except KafkaException as error:
            raise StoreUnavailable(f"Kafka does not tell the offsets of {topic}: {error}.") from error

    def ends(self, topic: str) -> dict[str, int]:
        """Return the next offset by partition, as the ledger writes it."""
        return {str(part): high for part, (_, high) in self.bounds(topic).items()}

    def read(self, topic: str, start: dict[int, int] | None = None) -> Iterator[Message]:
        """Yield what lies between `start` (default: the beginning) and the end as it is now, in partition order.

        Raises:
            StoreUnavailable: The broker stops answering.
        """
        wanted, ends = [], {}
        for part, (low, high) in self.bounds(topic).items():
            begin = max(low, (start or {}).get(part, 0))
            if begin < high:
                wanted.append(TopicPartition(topic, part, begin))
                ends[part] = high
        if wanted:
            self._consumer.assign(wanted)
            yield from self._until(ends)
            self._consumer.unassign()

    def _until(self, ends: dict[int, int]) -> Iterator[Message]:
        deadline = time.monotonic() + TIMEOUT_S
        while ends:
            # `consume` waits until the batch is full or the time is over, so the time is short.
            messages = self._consumer.consume(BATCH, timeout=CONSUME_S)
            if messages:
                deadline = time.monotonic() + TIMEOUT_S
            elif time.monotonic() > deadline:
                raise StoreUnavailable(
                    f"Kafka sent nothing for {TIMEOUT_S:g} s while partitions {sorted(ends)} have more."
                )
            for message in messages:
                part, error, offset = message.partition(), message.error(), message.offset()
                if part is None or part not in ends:
                    continue
                if error is not None and error.code() != KafkaError._PARTITION_EOF:
                    raise StoreUnavailable(f"Kafka broke off reading {message.topic()}: {error}.")
                # The end mark comes after the last record, also when compaction or a marker left none at end - 1.
                if error is not None or offset is None or offset >= ends[part] - 1:
                    del ends[part]
                if error is None:
                    yield message

    def latest(self, topic: str) -> dict[str, dict[str, Any]]:
        """Return the latest JSON value by key of a compacted topic."""
        values: dict[str, dict[str, Any]] = {}
        for message in self.read(topic):
            key, value = message.key(), message.value()
            if key is None:
                continue
            if value is None:
                values.pop(key.decode(), None)
            else:
                values[key.decode()] = json.loads(value)
        return values
