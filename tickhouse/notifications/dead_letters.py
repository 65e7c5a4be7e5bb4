"""Dead notifications: look at the queue `notify.dead`, and send its messages again.

A redrive publishes each message again for its channel, waits for the confirmation, and then takes
it out of the queue. A redrive that dies in between sends a message twice; the channel's row knows
that it was delivered.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from common.clients.rabbitmq import DEAD_QUEUE, NOTIFICATIONS, connected, managed, unavailable
from common.errors import RejectedRecord
from common.settings import Settings
from tickhouse.notifications.channels import enabled_names
from tickhouse.notifications.notification import DETAIL, DIED_AT, REASON, read_notification

if TYPE_CHECKING:
    from aio_pika.abc import AbstractExchange, AbstractIncomingMessage

# How much of a message lists show.
PREVIEW_BYTES = 120
# Most messages that a list reads; the queue itself says how many there are.
MOST_LISTED = 1_000
CONFIRM_S = 30.0


@dataclass(frozen=True, slots=True)
class DeadNotification:
    """One message of the queue.

    Attributes:
        channel: Which channel did not get it.
        message_id: Id of the alert; topic, partition and offset of a message that is no alert.
        reason: refused, tries_exhausted, delivery_limit, or why it is not readable.
        detail: What the channel said.
        died_at: When, in ISO 8601; empty when the server buried it.
        body: The message, byte for byte.
    """

    channel: str
    message_id: str
    reason: str
    detail: str
    died_at: str
    body: bytes

    def document(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return {
            "channel": self.channel, "message_id": self.message_id, "reason": self.reason, "detail": self.detail,
            "died_at": self.died_at, "preview": self.body[:PREVIEW_BYTES].decode("utf-8", "replace"),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Redriven:
    """The outcome for one message: `result` is sent, would_send, kept or refused."""

    dead: DeadNotification
    result: str
    why: str = ""

    def document(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return {**self.dead.document(), "result": self.result, "why": self.why}


def dead_notifications(settings: Settings, limit: int = MOST_LISTED) -> list[DeadNotification]:
    """Return the oldest messages of the queue, and leave them there.

    Raises:
        StoreUnavailable: RabbitMQ does not answer.
    """
    with managed(settings, "operator") as management:
        found = management.peek(DEAD_QUEUE, limit)
    return [_peeked(one) for one in found]


def redrive(settings: Settings, *, reason: str | None, limit: int | None, is_dry: bool) -> list[Redriven]:
    """Send dead notifications again, oldest first.

    Args:
        settings: Addresses and passwords.
        reason: Only those that died for this reason.
        limit: Most messages to send.
        is_dry: Send nothing.

    Raises:
        StoreUnavailable: RabbitMQ does not answer; what was sent is out of the queue.
    """
    return asyncio.run(_redrive(settings, reason, limit, is_dry=is_dry))


async def _redrive(settings: Settings, reason: str | None, limit: int | None, *, is_dry: bool) -> list[Redriven]:
    outcomes: list[Redriven] = []
    enabled = enabled_names(settings)
    async with connected(settings, "operator") as connection:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        queue = await channel.get_queue(DEAD_QUEUE, ensure=False)
        exchange = await channel.get_exchange(NOTIFICATIONS, ensure=False)
        sent = 0
        # Messages that stay are not acknowledged, so the server hands out each only once; it puts
        # them back when the channel closes.
        while (limit is None or sent < limit) and (message := await queue.get(fail=False)) is not None:
            outcome = judged(_received(message), reason, enabled)
            if outcome.result == "sent" and is_dry:
                outcome = Redriven(outcome.dead, "would_send")
            elif outcome.result == "sent":
                await _send_again(exchange, message)
            sent += outcome.result in ("sent", "would_send")
            outcomes.append(outcome)
    return [outcome for outcome in outcomes if outcome.result != "kept"]


async def _send_again(exchange: AbstractExchange, message: AbstractIncomingMessage) -> None:
    from aio_pika import DeliveryMode, Message
    from aio_pika.exceptions import CONNECTION_EXCEPTIONS

    copy = Message(
        message.body,
        content_type="application/json",
        message_id=message.message_id,
        delivery_mode=DeliveryMode.PERSISTENT,
    )
    try:
        await exchange.publish(copy, message.routing_key or "", mandatory=True, timeout=CONFIRM_S)
        await message.ack()
    except (*CONNECTION_EXCEPTIONS, TimeoutError) as error:
        raise unavailable(error) from error


def judged(dead: DeadNotification, reason: str | None, enabled: list[str]) -> Redriven:
    """Return whether a message can be sent again (pure).

    Args:
        dead: The message.
        reason: Only messages that died for this reason.
        enabled: The enabled channels; nobody would take a message for another one.
    """
    if reason not in (None, dead.reason):
        return Redriven(dead, "kept")
    try:
        read_notification(dead.body)
    except RejectedRecord as error:
        return Redriven(dead, "refused", f"it is not an alert: {error.detail}")
    if dead.channel not in enabled:
        return Redriven(dead, "refused", f"channel {dead.channel} is off")
    return Redriven(dead, "sent")


def _peeked(one: Mapping[str, Any]) -> DeadNotification:
    properties = one.get("properties") or {}
    body = base64.b64decode(one["payload"]) if one["payload_encoding"] == "base64" else one["payload"].encode()
    return _dead(one["routing_key"], properties.get("message_id"), properties.get("headers") or {}, body)


def _received(message: AbstractIncomingMessage) -> DeadNotification:
    return _dead(message.routing_key or "", message.message_id, message.headers, message.body)


def _dead(channel: str, message_id: str | None, headers: Mapping[str, Any], body: bytes) -> DeadNotification:
    # When the server buries a message, its newest death is the first of `x-death`.
    deaths = headers.get("x-death") or [{}]
    reason = str(headers.get(REASON) or deaths[0].get("reason", "unknown"))
    detail, died_at = str(headers.get(DETAIL, "")), str(headers.get(DIED_AT, ""))
    return DeadNotification(channel, message_id or "", reason, detail, died_at, body)
