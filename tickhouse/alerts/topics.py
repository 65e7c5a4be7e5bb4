"""The topics of the watcher: it reads candles and announcements, and sends alerts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from common.errors import StoreUnavailable
from common.topics import ALERTS, CANDLES
from tickhouse.alerts.store import Pending

GROUP = "tickhouse-alert-watcher"
BATCH = 500
FLUSH_S = 30.0
# With a fixed member id, a process that was killed is replaced at once; the broker would otherwise
# wait for the session of the dead one.
MEMBER = {"group.instance.id": "watcher", "session.timeout.ms": 30_000}


class WatchedTopics:
    """Consumes candles and announcements from the offsets that the store has.

    Args:
        bootstrap: host:port of the brokers.
        offsets: Returns the next offset by topic and partition; a partition that it does not name
            is read from its beginning.
    """

    def __init__(self, bootstrap: str, offsets: Callable[[], Mapping[tuple[str, int], int]]) -> None:
        self._offsets = offsets
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": GROUP,
                **MEMBER,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
                "client.id": GROUP,
                "log_level": 3,
            }
        )
        self._consumer.subscribe([CANDLES, ALERTS], on_assign=self._assign)

    def _assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        stored = self._offsets()
        for one in partitions:
            if one.topic is not None and one.partition is not None:
                one.offset = stored.get((one.topic, one.partition), one.offset)
        consumer.assign(partitions)

    def consume(self, wait_s: float) -> list[Message]:
        """Return the next messages, none when there are none in time.

        Raises:
            StoreUnavailable: The broker reports an error that does not pass by itself.
        """
        messages = []
        for message in self._consumer.consume(BATCH, timeout=wait_s):
            error = message.error()
            if error is None:
                messages.append(message)
            elif error.fatal() or error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise StoreUnavailable(f"Kafka cannot be read: {error}.", next_command="tickhouse logs kafka")
        return messages

    def show_progress(self, offsets: Mapping[tuple[str, int], int]) -> None:
        """Commit offsets to the group, for `tickhouse status`; the store's offsets decide."""
        if offsets:
            places = [TopicPartition(topic, partition, offset) for (topic, partition), offset in offsets.items()]
            self._consumer.commit(offsets=places, asynchronous=True)

    def close(self) -> None:
        """Leave the group."""
        self._consumer.close()


class AlertTopic:
    """Sends messages to `crypto.alerts`.

    Args:
        bootstrap: host:port of the brokers.
    """

    def __init__(self, bootstrap: str) -> None:
        options: dict[str, Any] = {"bootstrap.servers": bootstrap, "enable.idempotence": True, "log_level": 3}
        self._producer = Producer(options)

    def send(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Send messages under their keys; return once the broker has all of them.

        Raises:
            StoreUnavailable: The broker did not accept all of them; all may be sent again.
        """
        failures: list[str] = []

        def on_delivery(error: KafkaError | None, _: Message) -> None:
            if error is not None:
                failures.append(str(error))

        try:
            for key, value in messages:
                self._producer.produce(ALERTS, key=key, value=value, on_delivery=on_delivery)
            unsent = self._producer.flush(FLUSH_S)
        except (BufferError, KafkaException) as error:
            raise StoreUnavailable(f"Kafka did not accept an alert: {error}.") from error
        if failures or unsent:
            raise StoreUnavailable(f"Kafka did not accept {unsent + len(failures)} alerts: {failures[:1]}.")


def keyed(alerts: Sequence[Pending]) -> list[tuple[str, bytes]]:
    """Return the messages of alerts; the id is the key."""
    return [(alert.alert_id, alert.value) for alert in alerts]
