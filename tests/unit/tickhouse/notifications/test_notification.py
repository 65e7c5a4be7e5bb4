from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from common.clients.rabbitmq import CHANNELS, DEAD, DELAYS, NOTIFICATIONS, RETRY, channel_queue, retry_queue
from common.errors import RejectedRecord
from stack.rabbitmq.setup import DEFINITIONS, USERS
from tickhouse.alerts.alert import Alert, encode
from tickhouse.notifications.bridge import Outgoing, outgoing
from tickhouse.notifications.dead_letters import DeadNotification, judged
from tickhouse.notifications.notification import delay_after, fate, read_notification

NOW = datetime(2026, 11, 30, 5, tzinfo=UTC)
NOW_US = int(NOW.timestamp()) * 1_000_000


def alert(age: timedelta = timedelta(0), **more: Any) -> Alert:
    raised_us = NOW_US - age // timedelta(microseconds=1)
    return Alert("jump", "price_move", "warning", "spot:BTCUSDT", "w", raised_us, "BTCUSDT rose.", **more)


@dataclass
class KafkaMessage:
    body: bytes | None
    number: int = 7

    def value(self) -> bytes | None:
        return self.body

    def topic(self) -> str:
        return "crypto.alerts"

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self.number


def sent(*bodies: bytes | None) -> list[Outgoing]:
    messages: Any = [KafkaMessage(body) for body in bodies]
    return outgoing(messages, ["file", "webhook"], NOW, 24)


def test_an_alert_is_one_message_per_enabled_channel_with_the_same_bytes() -> None:
    body = encode(alert().document())

    assert sent(body) == [Outgoing(channel, alert().alert_id, body) for channel in ("file", "webhook")]


@pytest.mark.parametrize(
    ("document", "what"),
    [
        (alert().document(), "notify"),
        (alert(timedelta(hours=23)).document(), "notify"),
        (alert(timedelta(hours=25)).document(), "too old"),
        (alert(is_historic=True).document(), "historic"),
        ({"kind": "run_failed", "dag": "d", "run_id": "r"}, "announcement"),
    ],
)
def test_who_is_notified_of_what(document: dict[str, Any], what: str) -> None:
    assert fate(document, NOW, 24) == what
    assert bool(sent(json.dumps(document).encode())) == (what == "notify")


@pytest.mark.parametrize("body", [b"garbage", None, encode(alert().document() | {"raised_at": "yesterday"})])
def test_what_is_not_readable_goes_to_the_worker_that_buries_it(body: bytes | None) -> None:
    (one,) = sent(body)

    assert (one.channel, one.message_id, one.body) == ("file", "crypto.alerts:0:7", body or b"")
    with pytest.raises(RejectedRecord):
        read_notification(one.body)


def test_an_announcement_is_no_notification() -> None:
    with pytest.raises(RejectedRecord, match="not_an_alert"):
        read_notification(b'{"kind": "run_failed"}')


def test_each_try_waits_longer_than_the_one_before() -> None:
    assert [delay_after(tries) for tries in range(1, 6)] == [*DELAYS, None]


def dead(**more: Any) -> DeadNotification:
    values = {"channel": "file", "message_id": "m", "reason": "refused", "detail": "", "died_at": ""}
    return DeadNotification(**(values | {"body": encode(alert().document())} | more))


def test_only_what_a_channel_can_take_is_sent_again() -> None:
    enabled = ["file"]

    assert judged(dead(), None, enabled).result == "sent"
    assert judged(dead(), "tries_exhausted", enabled).result == "kept"
    assert judged(dead(channel="webhook"), None, enabled).result == "refused"
    assert judged(dead(body=b"garbage"), None, enabled).result == "refused"


# -- stack/rabbitmq/definitions.json --------------------------------------------------------------


def definitions() -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = json.loads(DEFINITIONS.read_text())
    return found


def test_every_queue_of_the_code_is_defined_and_no_other() -> None:
    names = {queue["name"] for queue in definitions()["queues"]}

    assert names == {*map(channel_queue, CHANNELS), *map(retry_queue, DELAYS), "notify.dead"}
    assert {exchange["name"] for exchange in definitions()["exchanges"]} == {NOTIFICATIONS, RETRY, DEAD}


def test_no_queue_loses_a_message() -> None:
    for queue in definitions()["queues"]:
        arguments = queue["arguments"]
        assert queue["durable"], queue["name"]
        assert (arguments["x-queue-type"], arguments["x-overflow"]) == ("quorum", "reject-publish"), queue["name"]
        if queue["name"] != "notify.dead":
            assert arguments["x-dead-letter-strategy"] == "at-least-once", queue["name"]


def test_every_queue_is_limited() -> None:
    for queue in definitions()["queues"]:
        assert {"x-message-ttl", "x-max-length"} & queue["arguments"].keys(), queue["name"]


def test_a_delay_is_as_long_as_its_name_says() -> None:
    seconds = {"s": 1, "m": 60}
    for queue in definitions()["queues"]:
        delay = queue["name"].removeprefix("notify.retry.")
        if delay in DELAYS:
            assert queue["arguments"]["x-message-ttl"] == int(delay[:-1]) * seconds[delay[-1]] * 1000
            assert queue["arguments"]["x-dead-letter-exchange"] == NOTIFICATIONS


def test_every_channel_and_delay_has_a_way_to_its_queue() -> None:
    bindings = definitions()["bindings"]
    by_key = {one["routing_key"]: one["destination"] for one in bindings if one["source"] == NOTIFICATIONS}
    by_delay = {one["arguments"]["delay"]: one["destination"] for one in bindings if one["source"] == RETRY}

    assert by_key == {channel: channel_queue(channel) for channel in CHANNELS}
    assert by_delay == {delay: retry_queue(delay) for delay in DELAYS}
    assert [one["destination"] for one in bindings if one["source"] == DEAD] == ["notify.dead"]


def test_only_the_administrator_makes_queues() -> None:
    assert {rights["configure"] for _, rights in USERS.values()} == {""}
