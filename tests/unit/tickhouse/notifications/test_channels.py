from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from common.clients.rabbitmq import CHANNELS
from common.settings import Settings
from tickhouse.alerts.alert import Alert
from tickhouse.notifications.channels import enabled_names
from tickhouse.notifications.channels.email import message_of
from tickhouse.notifications.channels.file import NAME, FileChannel
from tickhouse.notifications.channels.webhook import signature
from tickhouse.notifications.notification import Notification


def notification(number: int = 1, summary: str = "BTCUSDT rose.") -> Notification:
    alert = Alert("jump", "price_move", "warning", "spot:BTCUSDT", str(number), 1_700_000_000_000_000, summary)
    return Notification(alert.document())


def ids(channel: FileChannel) -> list[str]:
    return [json.loads(line)["alert_id"] for path in channel.files() for line in path.read_text().splitlines()]


def test_only_the_file_is_on_by_default() -> None:
    assert enabled_names(Settings()) == ["file"]


def test_a_channel_is_on_when_it_has_what_it_needs() -> None:
    settings = Settings(
        notify_webhook_url=SecretStr("http://127.0.0.1:1/x"), notify_smtp_host="mail", notify_email_to="a@example.org"
    )

    assert enabled_names(settings) == [*CHANNELS]
    assert enabled_names(Settings(notify_smtp_host="mail")) == ["file"]


def test_a_notification_is_one_line(tmp_path: Path) -> None:
    channel = FileChannel(tmp_path)

    asyncio.run(channel.send(notification(), may_be_a_repeat=False))

    (line,) = (tmp_path / "notifications" / NAME).read_text().splitlines()
    assert json.loads(line) == notification().document


def test_a_repeat_writes_no_second_line(tmp_path: Path) -> None:
    channel = FileChannel(tmp_path)
    for number in (1, 2):
        channel.append(notification(number), may_be_a_repeat=False)

    channel.append(notification(1), may_be_a_repeat=True)
    channel.append(notification(3), may_be_a_repeat=True)

    assert ids(channel) == [notification(number).alert_id for number in (1, 2, 3)]


def test_the_rest_of_a_torn_line_is_replaced(tmp_path: Path) -> None:
    channel = FileChannel(tmp_path)
    channel.append(notification(1), may_be_a_repeat=False)
    path = tmp_path / "notifications" / NAME
    with path.open("ab") as file:
        file.write(notification(2).body[:40])  # the writer died here

    channel.append(notification(2), may_be_a_repeat=True)

    assert ids(channel) == [notification(number).alert_id for number in (1, 2)]


def test_a_long_file_is_rotated_and_a_repeat_is_found_in_an_older_one(tmp_path: Path) -> None:
    channel = FileChannel(tmp_path, most_bytes=2 * len(notification().body) + 10)
    for number in range(1, 6):
        channel.append(notification(number), may_be_a_repeat=False)

    channel.append(notification(2), may_be_a_repeat=True)

    assert [path.name for path in channel.files()] == [f"{NAME}.2", f"{NAME}.1", NAME]
    assert ids(channel) == [notification(number).alert_id for number in range(1, 6)]


def test_files_are_for_their_owner_only(tmp_path: Path) -> None:
    FileChannel(tmp_path).append(notification(), may_be_a_repeat=False)

    assert (tmp_path / "notifications").stat().st_mode & 0o077 == 0


def test_the_signature_covers_time_and_body() -> None:
    wanted = hmac.new(b"secret", b'1700000000.{"a":1}', hashlib.sha256).hexdigest()

    assert signature(b"secret", "1700000000", b'{"a":1}') == f"v1={wanted}"
    assert signature(b"secret", "1700000001", b'{"a":1}') != f"v1={wanted}"


def test_a_mail_says_what_rang_and_carries_the_id() -> None:
    one = notification(summary="币安人生USDT rose\r\nBcc: x@example.org")
    message = message_of(one, Settings(notify_email_to="oncall@example.org"))

    assert message["Message-ID"] == f"<{one.alert_id}@tickhouse>"
    assert message["Subject"] == "[Tickhouse warning] 币安人生USDT rose Bcc: x@example.org"
    assert message["Bcc"] is None
    assert message["Date"] == "Tue, 14 Nov 2023 22:13:20 +0000"
    assert one.alert_id in message.get_content()


@pytest.mark.parametrize("values", [{}, {"change_percent": "5.00"}])
def test_the_same_notification_is_the_same_mail(values: dict[str, Any]) -> None:
    one = Notification(notification().document | {"values": values})

    assert message_of(one, Settings()).as_bytes() == message_of(one, Settings()).as_bytes()
