"""The bridge: alerts of `crypto.alerts` into the queues of the channels.

    python -m tickhouse.notifications.bridge

Delivery guarantee: at least once. For each batch, in this order:

1. Publish a persistent message per alert and enabled channel, with `mandatory`.
2. Wait until RabbitMQ has confirmed each. A quorum queue confirms what is on its disk.
3. Commit the offsets to Kafka.

A message that no queue takes, or a lost connection, ends the session before 3, and the batch is
read again. The workers know a repeat by its row.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import structlog
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client import Counter as MetricCounter

from common.clients.rabbitmq import NOTIFICATIONS, connected
from common.errors import RejectedRecord, StoreUnavailable
from common.logs import configure_logging
from common.settings import Settings, load_settings, ports
from common.topics import ALERTS
from tickhouse.alerts.alert import read_message
from tickhouse.notifications.channels import enabled_names
from tickhouse.notifications.notification import Fate, fate
from tickhouse.notifications.sessions import run_sessions

if TYPE_CHECKING:
    from aio_pika.abc import AbstractExchange

GROUP: Final = "tickhouse-alert-bridge"
BATCH, CONSUME_S = 100, 1.0
CONFIRM_S: Final = 30.0
# Where a message goes that is not readable: the worker refuses it into the dead-letter queue.
UNREADABLE_TO: Final = "file"

log = structlog.get_logger("notifications.bridge")


class BridgeMetrics:
    """The metrics of the bridge, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.confirmed = MetricCounter(
            "tickhouse_notifications_confirmed", "Messages that RabbitMQ has.", ["channel"], registry=self.registry
        )


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message for RabbitMQ: the channel is its routing key."""

    channel: str
    message_id: str
    body: bytes


def outgoing(messages: Sequence[Message], channels: Sequence[str], now: datetime, most_hours: int) -> list[Outgoing]:
    """Return what a batch of Kafka messages becomes (pure apart from the log).

    Args:
        messages: Of `crypto.alerts`.
        channels: The enabled channels.
        now: The time; older alerts than `most_hours` are left out.
        most_hours: `NOTIFY_MAX_AGE_H`.
    """
    found: list[Outgoing] = []
    left_out: Counter[Fate] = Counter()
    for message in messages:
        value: bytes = message.value() or b""
        try:
            document = read_message(value)
            what = fate(document, now, most_hours)
        except RejectedRecord:
            place = f"{message.topic()}:{message.partition()}:{message.offset()}"
            found.append(Outgoing(UNREADABLE_TO, place, value))
            continue
        if what == "notify":
            found += [Outgoing(channel, document["alert_id"], value) for channel in channels]
        else:
            left_out[what] += 1
    if left_out:
        log.info("left out", messages={str(reason): count for reason, count in left_out.items()})
    return found


def open_consumer(bootstrap: str) -> Consumer:
    """Return a consumer of `crypto.alerts` that commits nothing by itself."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": GROUP,
            # With a fixed member id, a bridge that was killed is replaced at once.
            "group.instance.id": "bridge",
            "session.timeout.ms": 30_000,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "client.id": GROUP,
            "log_level": 3,
        }
    )
    consumer.subscribe([ALERTS])
    return consumer


async def run_session(settings: Settings, metrics: BridgeMetrics, stop: asyncio.Event) -> None:
    """Carry alerts until the event is set.

    Raises:
        StoreUnavailable: RabbitMQ or Kafka does not answer; what was not committed is read again.
    """
    channels = enabled_names(settings)
    async with connected(settings, "bridge") as connection:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        exchange = await channel.get_exchange(NOTIFICATIONS, ensure=False)
        with closing(open_consumer(settings.kafka_bootstrap_servers)) as consumer:
            while not stop.is_set() and not connection.is_closed:
                messages = await asyncio.to_thread(_consume, consumer)
                out = outgoing(messages, channels, datetime.now(UTC), settings.notify_max_age_h)
                await publish(exchange, out)
                for one in out:
                    metrics.confirmed.labels(one.channel).inc()
                if messages:
                    await asyncio.to_thread(_commit, consumer, messages)
    if not stop.is_set():
        raise StoreUnavailable("RabbitMQ closed the connection.", next_command="tickhouse logs rabbitmq")


async def publish(exchange: AbstractExchange, messages: Sequence[Outgoing]) -> None:
    """Publish messages and return once RabbitMQ has confirmed all of them.

    Raises:
        StoreUnavailable: One was returned, refused, or not confirmed in time.
    """
    from aio_pika import DeliveryMode
    from aio_pika import Message as AmqpMessage
    from aio_pika.exceptions import CONNECTION_EXCEPTIONS

    def message(one: Outgoing) -> AmqpMessage:
        return AmqpMessage(
            one.body,
            content_type="application/json",
            message_id=one.message_id,
            delivery_mode=DeliveryMode.PERSISTENT,
        )

    sending = [exchange.publish(message(one), one.channel, mandatory=True, timeout=CONFIRM_S) for one in messages]
    try:
        await asyncio.gather(*sending)
    except (*CONNECTION_EXCEPTIONS, TimeoutError) as error:
        raise StoreUnavailable(
            f"RabbitMQ did not take a notification: {error!r}.",
            safe="The alerts stay in Kafka and are read again.",
            next_command="tickhouse up --service rabbitmq",
        ) from error


def _consume(consumer: Consumer) -> list[Message]:
    messages = consumer.consume(BATCH, timeout=CONSUME_S)
    failed = [error for message in messages if (error := message.error()) is not None]
    if any(error.fatal() or not error.retriable() for error in failed):
        raise StoreUnavailable(f"Kafka cannot be read: {failed[0]}.", next_command="tickhouse logs kafka")
    return [message for message in messages if message.error() is None]


def _commit(consumer: Consumer, messages: Sequence[Message]) -> None:
    ends: dict[int, int] = {}
    for message in messages:
        partition, offset = message.partition(), message.offset()
        if partition is not None and offset is not None:
            ends[partition] = max(ends.get(partition, 0), offset + 1)
    try:
        consumer.commit(offsets=[TopicPartition(ALERTS, *end) for end in sorted(ends.items())], asynchronous=False)
    except KafkaException as error:
        raise StoreUnavailable(f"Kafka did not take the offsets: {error}.") from error


def main() -> None:
    """Carry alerts until SIGTERM or SIGINT."""
    configure_logging("alert_bridge")
    settings, metrics = load_settings(), BridgeMetrics()
    server, thread = start_http_server(ports()["bridge_metrics"], addr=settings.metrics_host, registry=metrics.registry)
    asyncio.run(run_sessions(lambda stop: run_session(settings, metrics, stop)))
    server.shutdown()
    thread.join()


if __name__ == "__main__":
    main()
