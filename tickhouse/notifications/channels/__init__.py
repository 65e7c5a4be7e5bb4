"""The channels: how a notification leaves Tickhouse. All are off by default except the file.

A channel raises a `TransientError` when a later try may help, and a `TerminalError` when not.
"""

from __future__ import annotations

from typing import Protocol

from common.settings import Settings
from tickhouse.notifications.channels.email import EmailChannel
from tickhouse.notifications.channels.file import FileChannel
from tickhouse.notifications.channels.webhook import WebhookChannel
from tickhouse.notifications.notification import Notification


class Channel(Protocol):
    """One way to tell people."""

    async def send(self, notification: Notification, *, may_be_a_repeat: bool) -> None:
        """Send a notification.

        Args:
            notification: What to send.
            may_be_a_repeat: An earlier try may have sent it, and died before it was recorded.

        Raises:
            TransientError: It was not taken; a later try may help.
            TerminalError: It was refused.
        """
        ...


def enabled_names(settings: Settings) -> list[str]:
    """Return the channels that have what they need."""
    has = {
        "file": True,
        "webhook": bool(settings.notify_webhook_url.get_secret_value()),
        "email": bool(settings.notify_smtp_host and settings.notify_email_to),
    }
    return [name for name, is_enabled in has.items() if is_enabled]


def enabled_channels(settings: Settings) -> dict[str, Channel]:
    """Return the channels that have what they need, by name."""
    made: dict[str, Channel] = {}
    for name in enabled_names(settings):
        made[name] = _channel(name, settings)
    return made


def _channel(name: str, settings: Settings) -> Channel:
    if name == "webhook":
        return WebhookChannel(settings)
    return EmailChannel(settings) if name == "email" else FileChannel(settings.home)
