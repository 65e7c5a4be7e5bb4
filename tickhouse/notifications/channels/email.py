"""The e-mail channel: one message per alert over SMTP; the alert's id is in its Message-ID."""

from __future__ import annotations

import asyncio
import smtplib
import socket
import ssl
from email.message import EmailMessage
from email.utils import format_datetime

from common.errors import ConfigurationError, StoreUnavailable
from common.settings import Settings
from tickhouse.alerts.alert import raised_at
from tickhouse.notifications.notification import Notification

TIMEOUT_S = 20.0
# Replies of SMTP: 4yz means "try again later", 5yz "do not" (RFC 5321, 4.2.1).
PERMANENT = 500
SUBJECT_CHARACTERS = 150


class EmailChannel:
    """Sends to `NOTIFY_EMAIL_TO` over the server `NOTIFY_SMTP_HOST`.

    Args:
        settings: Server, login and addresses.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def send(self, notification: Notification, *, may_be_a_repeat: bool) -> None:
        """Send one message; a mail server or client knows a repeat by its Message-ID.

        Raises:
            StoreUnavailable: The server is away, or says to try again later.
            ConfigurationError: It refuses the login, an address or the message.
        """
        await asyncio.to_thread(self._send, message_of(notification, self._settings))

    def _send(self, message: EmailMessage) -> None:
        try:
            with self._connected() as server:
                if self._settings.notify_smtp_user:
                    password = self._settings.notify_smtp_password.get_secret_value()
                    server.login(self._settings.notify_smtp_user, password)
                server.send_message(message)
        except smtplib.SMTPException as error:
            raise _problem(error) from error
        except OSError as error:
            raise StoreUnavailable(f"The mail server does not answer: {error}.") from error

    def _connected(self) -> smtplib.SMTP:
        host, port = self._settings.notify_smtp_host, self._settings.notify_smtp_port
        security = self._settings.notify_smtp_security
        context = ssl.create_default_context()
        # By default smtplib asks DNS for our own name, which may take longer than the mail.
        ours = socket.gethostname()
        if security == "tls":
            return smtplib.SMTP_SSL(host, port, local_hostname=ours, timeout=TIMEOUT_S, context=context)
        server = smtplib.SMTP(host, port, local_hostname=ours, timeout=TIMEOUT_S)
        try:
            if security == "starttls":
                server.starttls(context=context)
        except (smtplib.SMTPException, OSError):
            server.close()
            raise
        return server


def _problem(error: smtplib.SMTPException) -> StoreUnavailable | ConfigurationError:
    codes = [error.smtp_code] if isinstance(error, smtplib.SMTPResponseException) else []
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        codes = [code for code, _ in error.recipients.values()]
    if codes and min(codes) >= PERMANENT:
        return ConfigurationError(f"The mail server refuses the message: {error}.")
    return StoreUnavailable(f"The mail server did not take the message: {error}.")


def message_of(notification: Notification, settings: Settings) -> EmailMessage:
    """Return the message of a notification; the same notification gives the same message."""
    document = notification.document
    message = EmailMessage()
    subject = f"[Tickhouse {document['severity']}] {document['summary']}"
    message["Subject"] = " ".join(subject.split())[:SUBJECT_CHARACTERS]
    message["From"], message["To"] = settings.notify_email_from, settings.notify_email_to
    message["Date"] = format_datetime(raised_at(document))
    message["Message-ID"] = f"<{notification.alert_id}@tickhouse>"
    message["X-Tickhouse-Rule"] = document["rule"]
    values = [f"{name}: {value}" for name, value in document.get("values", {}).items()]
    lines = [document["summary"], "", f"subject: {document['subject']}", f"raised at: {document['raised_at']}", *values]
    message.set_content("\n".join([*lines, f"alert: {notification.alert_id}", ""]))
    return message
