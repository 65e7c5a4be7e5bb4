"""A notification: one alert for one channel, as a message of RabbitMQ."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from common.clients.rabbitmq import DELAYS
from common.errors import RejectedRecord
from tickhouse.alerts.alert import encode, is_alert, raised_at, read_message

Fate = Literal["notify", "announcement", "historic", "too old"]

# Header of a message: how often a channel was tried. It is set when a message is sent to wait.
TRIES: Final = "tries"
# Headers of a dead letter.
REASON, DETAIL, CHANNEL, DIED_AT = "reason", "detail", "channel", "died_at"


@dataclass(frozen=True, slots=True)
class Notification:
    """One alert, as a channel gets it."""

    document: dict[str, Any]

    @property
    def alert_id(self) -> str:
        """Return the id by which a receiver can tell a repeat."""
        return str(self.document["alert_id"])

    @property
    def body(self) -> bytes:
        """Return the alert as JSON."""
        return encode(self.document)

    def age_s(self, now: datetime) -> float:
        """Return the seconds since the alert was raised."""
        return max(0.0, (now - raised_at(self.document)).total_seconds())


def read_notification(value: bytes) -> Notification:
    """Return the notification in a message.

    Raises:
        RejectedRecord: It is not an alert.
    """
    document = read_message(value)
    if not is_alert(document):
        raise RejectedRecord("not_an_alert", f"Expected an alert_id, was {sorted(document)}")
    raised_at(document)
    return Notification(document)


def fate(document: dict[str, Any], now: datetime, most_hours: int) -> Fate:
    """Return what the bridge does with a message of `crypto.alerts`.

    Raises:
        RejectedRecord: The alert's time does not parse.
    """
    if not is_alert(document):
        return "announcement"
    if document.get("is_historic"):
        return "historic"
    return "too old" if now - raised_at(document) > timedelta(hours=most_hours) else "notify"


def delay_after(tries: int) -> str | None:
    """Return how long to wait after a number of failed tries; None when it is enough."""
    return DELAYS[tries - 1] if tries <= len(DELAYS) else None
