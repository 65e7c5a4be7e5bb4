"""Receivers that the tests control: a webhook and a mail server, and the services that use them."""

from __future__ import annotations

import hashlib
import hmac
import http.server
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from typing import Any

import psycopg
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from common.settings import Settings
from tests.conftest import Stack
from tests.ports import free_port
from tickhouse.alerts.alert import Alert
from tickhouse.alerts.topics import AlertTopic
from tickhouse.notifications.channels.file import FileChannel

MOST_AGE_S = 300


class Webhook(http.server.ThreadingHTTPServer):
    """Counts requests by idempotency key; answers with `status` of a key, 200 by default."""

    def __init__(self, secret: str) -> None:
        self.secret = secret.encode()
        self.received: Counter[str] = Counter()
        self.answers: dict[str, list[int]] = {}
        self.forged: list[str] = []
        super().__init__(("127.0.0.1", 0), _WebhookHandler)


class _WebhookHandler(http.server.BaseHTTPRequestHandler):
    server: Webhook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        key, timestamp = self.headers["Idempotency-Key"], self.headers["X-Tickhouse-Timestamp"]
        wanted = hmac.new(self.server.secret, f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
        is_ours = hmac.compare_digest(self.headers["X-Tickhouse-Signature"], f"v1={wanted}")
        if not is_ours or abs(time.time() - int(timestamp)) > MOST_AGE_S:
            self.server.forged.append(key)
        answers = self.server.answers.get(key, [])
        status = answers.pop(0) if answers else 200
        if status == 200:
            self.server.received[key] += 1
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


class Mailbox:
    """Counts messages by Message-ID."""

    def __init__(self) -> None:
        self.received: Counter[str] = Counter()

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        message = message_from_bytes(envelope.original_content or b"")
        self.received[message["Message-ID"]] += 1
        return "250 OK"


@dataclass
class Receivers:
    """What the channels have delivered, and the settings of the services that deliver."""

    settings: Settings
    webhook: Webhook
    mailbox: Mailbox
    topic: AlertTopic = field(init=False)

    def __post_init__(self) -> None:
        self.topic = AlertTopic(self.settings.kafka_bootstrap_servers)

    def send(self, alerts: list[Alert]) -> list[str]:
        """Put alerts on `crypto.alerts` as the watcher does, and return their ids."""
        from tickhouse.alerts.alert import encode

        self.topic.send([(alert.alert_id, encode(alert.document())) for alert in alerts])
        return [alert.alert_id for alert in alerts]

    def by_webhook(self, ids: list[str]) -> dict[str, int]:
        return {one: self.webhook.received[one] for one in ids if one in self.webhook.received}

    def by_email(self, ids: list[str]) -> dict[str, int]:
        found = {one: self.mailbox.received.get(f"<{one}@tickhouse>", 0) for one in ids}
        return {one: count for one, count in found.items() if count}

    def by_file(self, ids: list[str]) -> dict[str, int]:
        lines = b"".join(path.read_bytes() for path in FileChannel(self.settings.home).files()).decode()
        return {one: count for one in ids if (count := lines.count(f'"alert_id":"{one}"'))}

    def rows(self, ids: list[str]) -> dict[tuple[str, str], tuple[str, int]]:
        """Return (state, tries) by alert and channel."""
        query = "SELECT alert_id, channel, state, tries FROM alerts.deliveries WHERE alert_id = ANY(%s)"
        with psycopg.connect(self.settings.database_dsn("reader")) as connection:
            return {(row[0], row[1]): (row[2], row[3]) for row in connection.execute(query, [ids]).fetchall()}


def made(subject: str, number: int, **more: Any) -> Alert:
    """Return an alert that rings now."""
    now_us = time.time_ns() // 1000
    return Alert("price_jump", "price_move", "warning", subject, str(number), now_us, f"{subject} rose.", **more)


@contextmanager
def serving(secret: str) -> Iterator[tuple[Webhook, Mailbox, int]]:
    mailbox, smtp_port = Mailbox(), free_port()
    controller = Controller(mailbox, hostname="127.0.0.1", port=smtp_port)
    controller.start()
    with Webhook(secret) as webhook:
        thread = threading.Thread(target=webhook.serve_forever)
        thread.start()
        try:
            yield webhook, mailbox, smtp_port
        finally:
            webhook.shutdown()
            thread.join()
            controller.stop()


@pytest.fixture(scope="package")
def receivers(stack: Stack) -> Iterator[Receivers]:
    """Every channel enabled, with receivers of these tests; the services run with them."""
    settings = stack.up("postgres")
    with serving(settings.notify_webhook_secret.get_secret_value()) as (webhook, mailbox, smtp_port):
        values = {
            "NOTIFY_WEBHOOK_URL": f"http://127.0.0.1:{webhook.server_port}/alerts",
            "NOTIFY_SMTP_HOST": "127.0.0.1",
            "NOTIFY_SMTP_PORT": str(smtp_port),
            "NOTIFY_SMTP_SECURITY": "none",
            "NOTIFY_EMAIL_TO": "oncall@example.org",
        }
        os.environ.update(values)
        try:
            yield Receivers(stack.up("alert_watcher", "notifications"), webhook, mailbox)
        finally:
            for name in values:
                del os.environ[name]
            # Without receivers the channels are off again; nothing goes on trying.
            stack.up("notifications")
