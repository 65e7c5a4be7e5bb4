"""Read Kafka topics from given offsets to their present end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from common.errors import StoreUnavailable

TIMEOUT_S: Final = 30.0
# A person at a terminal should not wait for a broker that is just starting.
COMMAND_TIMEOUT_S: Final = 10.0
BATCH: Final = 5_000
CONSUME_S: Final = 0.05


class TopicRecord(NamedTuple):
    """One record of a topic; `timestamp_ms` is the broker's, headers are decoded as UTF-8."""

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


class TopicLog:
    """A reader that joins no consumer group, so it commits no offset and causes no rebalance.

    Args:
        bootstrap: host:port of the brokers.
        timeout_s: How long the broker may take to answer a request for metadata.
        options: More settings of librdkafka.
    """

    def __init__(
        self, bootstrap: str, *, timeout_s: float = TIMEOUT_S, options: dict[str, str | int] | None = None
    ) -> None:
        self._timeout_s = timeout_s
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "tickhouse-topic-log",  # librdkafka needs one; it is never joined
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
                **(options or {}),
            }
        )

    @classmethod
    def for_command(cls, bootstrap: str) -> TopicLog:
        """Return a reader for a command or a task.

        It gives up after 10 s, and librdkafka logs nothing.
        """
        return cls(bootstrap, timeout_s=COMMAND_TIMEOUT_S, options={"log_level": 0})

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()

    def names(self) -> list[str]:
        """Return the names of all topics, sorted.

        Raises:
            StoreUnavailable: The broker does not answer.
        """
        try:
            return sorted(self._consumer.list_topics(timeout=self._timeout_s).topics)
        except KafkaException as error:
            raise _unavailable("Kafka does not list its topics", error) from error

    def bounds(self, topic: str) -> dict[int, tuple[int, int]]:
        """Return (first kept, next) offset by partition.

        Raises:
            StoreUnavailable: The broker does not answer, or has no such topic.
        """
        try:
            found = self._consumer.list_topics(topic, timeout=self._timeout_s).topics[topic]
            if found.error is not None:
                raise KafkaException(found.error)
            return {
                part: self._consumer.get_watermark_offsets(TopicPartition(topic, part), timeout=self._timeout_s)
                for part in found.partitions
            }
        except KafkaException as error:
            raise _unavailable(f"Kafka does not return the offsets of {topic}", error) from error

    def ends(self, topic: str) -> dict[str, int]:
        """Return the next offset by partition, as the ledger writes it."""
        return {str(part): high for part, (_, high) in self.bounds(topic).items()}

    def read(
        self, topic: str, start: dict[int, int] | None = None, until: dict[int, int] | None = None
    ) -> Iterator[Message]:
        """Yield the messages from `start` to the present end, each partition in order.

        Args:
            topic: Its name.
            start: First offset by partition; the default is 0.
            until: Where to stop, by partition; a partition that is not named is left out.

        Raises:
            StoreUnavailable: The broker stops answering.
        """
        wanted, ends = [], {}
        for part, (low, high) in self.bounds(topic).items():
            begin, end = max(low, (start or {}).get(part, 0)), high if until is None else min(high, until.get(part, 0))
            if begin < end:
                wanted.append(TopicPartition(topic, part, begin))
                ends[part] = end
        if wanted:
            self._consumer.assign(wanted)
            try:
                yield from self._until(ends)
            finally:  # also when the caller stops reading
                self._consumer.unassign()

    def records(
        self, topic: str, start: dict[int, int] | None = None, until: dict[int, int] | None = None
    ) -> Iterator[TopicRecord]:
        """Yield what `read` yields, as plain values.

        Raises:
            StoreUnavailable: The broker stops answering.
        """
        return map(_record, self.read(topic, start, until))

    def offsets_at(self, topic: str, time_us: int) -> dict[int, int]:
        """Return, by partition, the first offset written at a time or later.

        A partition without such an offset has its end here.

        Raises:
            StoreUnavailable: The broker does not answer.
        """
        ends = self.bounds(topic)
        asked = [TopicPartition(topic, part, max(0, time_us // 1000)) for part in ends]
        try:
            found = self._consumer.offsets_for_times(asked, timeout=self._timeout_s)
        except KafkaException as error:
            raise _unavailable(f"Kafka does not return the offsets of {topic} at a time", error) from error
        return {one.partition: one.offset if one.offset >= 0 else ends[one.partition][1] for one in found}

    def _until(self, ends: dict[int, int]) -> Iterator[Message]:
        deadline = time.monotonic() + TIMEOUT_S
        while ends:
            # `consume` waits until the batch is full or the time is over, so the time is short.
            messages = self._consumer.consume(BATCH, timeout=CONSUME_S)
            if messages:
                deadline = time.monotonic() + TIMEOUT_S
            elif time.monotonic() > deadline:
                raise StoreUnavailable(
                    f"Kafka sent nothing for {TIMEOUT_S:g} s while partitions {sorted(ends)} have more.",
                    next_command="tickhouse status",
                )
            for message in messages:
                part, error, offset = message.partition(), message.error(), message.offset()
                if part is None or part not in ends:
                    continue
                if error is not None and error.code() != KafkaError._PARTITION_EOF:
                    raise _unavailable(f"Kafka cannot read {message.topic()} any further", error)
                # The end mark comes after the last record, also when compaction or a marker left
                # none at end - 1.
                is_over = error is None and offset is not None and offset >= ends[part]
                if error is not None or offset is None or offset >= ends[part] - 1:
                    del ends[part]
                if error is None and not is_over:
                    yield message

    def latest(self, topic: str) -> dict[str, dict[str, Any]]:
        """Return the latest JSON value by key of a compacted topic."""
        values: dict[bytes, bytes] = {}
        for message in self.read(topic):
            key, value = message.key(), message.value()
            if key is None:
                continue
            if value is None:
                values.pop(key, None)
            else:
                values[key] = value
        # Decoded only now, because most records are old values that compaction has not removed yet.
        return {key.decode(): msgspec.json.decode(value) for key, value in values.items()}


def _record(message: Message) -> TopicRecord:
    found: Any = message.headers()  # a list in librdkafka, more in its stub
    headers = {name: (value or b"").decode("utf-8", "replace") for name, value in found or []}
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    assert topic is not None and partition is not None and offset is not None  # noqa: S101, PT018 - a record has them
    return TopicRecord(topic, partition, offset, message.timestamp()[1], message.key(), message.value(), headers)


def _unavailable(what: str, why: object) -> StoreUnavailable:
    return StoreUnavailable(f"{what}: {why}.", safe="Nothing was changed.", next_command="tickhouse status")
