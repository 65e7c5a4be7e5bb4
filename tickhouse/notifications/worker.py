"""The worker: takes notifications from the queues and sends each on its channel.

    python -m tickhouse.notifications.worker

For each message, in this order:

1. Claim the notification: a lock, and its row in PostgreSQL. A notification that was delivered is
   acknowledged and goes no further.
2. Send it on the channel.
3. Complete the row, then acknowledge the message.

A worker that dies between 2 and 3 sends the notification again after its next start, because it
cannot know whether it was sent. The file channel finds its line and writes no second one. For
webhook and e-mail, the receiver knows the repeat by the alert's id (docs/adr/0030-alerts.md).

A failed try goes to wait in a delay queue, longer each time. After the last one, or when the
channel refuses the notification, it goes to the dead-letter queue with its reason.
Each channel sends one notification at a time; more workers send more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server

from common.clients.rabbitmq import DEAD, DELAYS, RETRY, channel_queue, connected
from common.errors import RejectedRecord, StoreUnavailable, TerminalError, TransientError
from common.logs import configure_logging, correlated
from common.settings import Settings, load_settings, ports
from tickhouse.notifications import deliveries
from tickhouse.notifications.channels import Channel, enabled_channels
from tickhouse.notifications.deliveries import Claim, Deliveries
from tickhouse.notifications.notification import (
    CHANNEL,
    DETAIL,
    DIED_AT,
    REASON,
    TRIES,
    Notification,
    delay_after,
    read_notification,
)
from tickhouse.notifications.sessions import run_sessions

if TYPE_CHECKING:
    from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage

CONFIRM_S = 30.0
# Up to the sum of the waits between the tries: 5 s, 30 s, 5 min, 30 min.
DELAY_BUCKETS_S = (0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0, 2400.0)

log = structlog.get_logger("notifications.worker")


class WorkerMetrics:
    """The metrics of a worker, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.ended = Counter(
            "tickhouse_notifications", "Tries by channel and result.", ["channel", "result"], registry=self.registry
        )
        self.delay = Histogram(
            "tickhouse_notification_delay_seconds",
            "From raised to delivered.",
            ["channel"],
            buckets=DELAY_BUCKETS_S,
            registry=self.registry,
        )


class ChannelWorker:
    """Sends the notifications of one channel, one at a time.

    Args:
        name: The channel.
        channel: Sends.
        rows: The idempotency rows, over a session of its own.
        publisher: An AMQP channel with confirms.
        metrics: Counters.
    """

    def __init__(
        self, name: str, channel: Channel, rows: Deliveries, publisher: AbstractChannel, metrics: WorkerMetrics
    ) -> None:
        self._name, self._channel, self._rows, self._publisher = name, channel, rows, publisher
        self._metrics = metrics
        self._sending = asyncio.Lock()

    async def finish(self) -> None:
        """Wait until the message in work has ended, and take no other."""
        await self._sending.acquire()

    async def take(self, message: AbstractIncomingMessage) -> None:
        """Take one message to its end: delivered, waiting for the next try, or dead.

        Raises:
            StoreUnavailable: PostgreSQL or RabbitMQ does not answer; the message comes again.
        """
        async with self._sending:
            result = await self._result(message)
            await message.ack()
        self._metrics.ended.labels(self._name, result).inc()

    async def _result(self, message: AbstractIncomingMessage) -> str:
        try:
            notification = read_notification(message.body)
        except RejectedRecord as error:
            await self._bury(message, error.reason, error.detail)
            return "refused"
        with correlated(notification.alert_id, event__id=notification.alert_id):
            async with self._rows.claimed(notification.alert_id, self._name) as claim:
                return await self._try(message, notification, claim)

    async def _try(self, message: AbstractIncomingMessage, notification: Notification, claim: Claim) -> str:
        if claim.state == "busy":
            await self._delay(message, DELAYS[0], _tries(message.headers))
        if claim.state != "claimed":
            return claim.state
        try:
            await self._channel.send(notification, may_be_a_repeat=claim.may_be_a_repeat)
        except TransientError as error:
            return await self._after_failure(message, notification, error)
        except TerminalError as error:
            await self._bury(message, "refused", error.message)
            await self._rows.end(notification.alert_id, self._name, "dead", error.message)
            return "dead"
        await self._rows.end(notification.alert_id, self._name, "delivered")
        self._metrics.delay.labels(self._name).observe(notification.age_s(datetime.now(UTC)))
        return "delivered"

    async def _after_failure(
        self, message: AbstractIncomingMessage, notification: Notification, error: TransientError
    ) -> str:
        tries = _tries(message.headers) + 1
        delay = delay_after(tries)
        log.warning("delivery_failed", channel=self._name, error=error.message, delay=delay)
        if delay is None:
            await self._bury(message, "tries_exhausted", error.message)
            await self._rows.end(notification.alert_id, self._name, "dead", error.message)
            return "dead"
        await self._delay(message, delay, tries)
        await self._rows.end(notification.alert_id, self._name, "sending", error.message)
        return "waiting"

    async def _delay(self, message: AbstractIncomingMessage, delay: str, tries: int) -> None:
        await self._publish(RETRY, message, {"delay": delay, TRIES: tries})

    async def _bury(self, message: AbstractIncomingMessage, reason: str, detail: str) -> None:
        log.error("notification_dead", channel=self._name, message_id=message.message_id, reason=reason, detail=detail)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        headers = {REASON: reason, DETAIL: detail[:500], CHANNEL: self._name, DIED_AT: now}
        await self._publish(DEAD, message, headers | {TRIES: _tries(message.headers)})

    async def _publish(self, exchange: str, message: AbstractIncomingMessage, headers: dict[str, Any]) -> None:
        from aio_pika import DeliveryMode, Message
        from aio_pika.exceptions import CONNECTION_EXCEPTIONS

        copy = Message(
            message.body,
            headers=headers,
            content_type="application/json",
            message_id=message.message_id,
            delivery_mode=DeliveryMode.PERSISTENT,
        )
        try:
            target = await self._publisher.get_exchange(exchange, ensure=False)
            await target.publish(copy, self._name, mandatory=True, timeout=CONFIRM_S)
        except (*CONNECTION_EXCEPTIONS, TimeoutError) as error:
            raise StoreUnavailable(f"RabbitMQ did not take a notification back: {error!r}.") from error


def _tries(headers: Mapping[str, Any]) -> int:
    found = headers.get(TRIES, 0)
    return found if isinstance(found, int) else 0


async def run_session(settings: Settings, metrics: WorkerMetrics, stop: asyncio.Event) -> None:
    """Work on every enabled channel until the event is set.

    Raises:
        StoreUnavailable: RabbitMQ or PostgreSQL does not answer.
    """
    async with connected(settings, "worker") as connection, AsyncExitStack() as stack:
        workers: list[ChannelWorker] = []
        tasks = [asyncio.create_task(_until(stop, connection))]
        for name, channel in enabled_channels(settings).items():
            rows = await stack.enter_async_context(deliveries.connected(settings.database_dsn("notifier")))
            publisher = await connection.channel(publisher_confirms=True, on_return_raises=True)
            workers.append(ChannelWorker(name, channel, rows, publisher, metrics))
            tasks.append(asyncio.create_task(_consume(connection, workers[-1], channel_queue(name))))
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.gather(*(worker.finish() for worker in workers))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            task.result()
    if not stop.is_set():
        raise StoreUnavailable("RabbitMQ ended the session.", next_command="tickhouse logs rabbitmq")


async def _until(stop: asyncio.Event, connection: AbstractConnection) -> None:
    stopping, closed = asyncio.ensure_future(stop.wait()), asyncio.ensure_future(connection.closed())
    try:
        await asyncio.wait({stopping, closed}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        closed.cancel()


async def _consume(connection: AbstractConnection, worker: ChannelWorker, queue_name: str) -> None:
    """Take messages one by one until the connection ends."""
    channel = await connection.channel()
    await channel.set_qos(prefetch_count=1)
    queue = await channel.get_queue(queue_name, ensure=False)
    async with queue.iterator() as messages:
        async for message in messages:
            await worker.take(message)


def main() -> None:
    """Work until SIGTERM or SIGINT."""
    configure_logging("notification_worker")
    settings, metrics = load_settings(), WorkerMetrics()
    server, thread = start_http_server(
        ports()["notifier_metrics"], addr=settings.metrics_host, registry=metrics.registry
    )
    asyncio.run(run_sessions(lambda stop: run_session(settings, metrics, stop)))
    server.shutdown()
    thread.join()


if __name__ == "__main__":
    main()
