"""Notifications that fail: tried again later, buried with their reason, and sent again by hand."""

from __future__ import annotations

import json
import uuid

import pytest
from confluent_kafka import Producer
from typer.testing import CliRunner

from common.topics import ALERTS
from stack.engine import supervisor
from tests.eventually import eventually
from tests.integration.notifications.conftest import Receivers, made
from tests.runbook.following import FollowedPage
from tickhouse.cli import app
from tickhouse.notifications.dead_letters import DeadNotification, dead_notifications
from tickhouse.status.doctor import examine

pytestmark = pytest.mark.integration
PATIENCE_S = 240.0


def dead(receivers: Receivers, message_id: str) -> list[DeadNotification]:
    return [one for one in dead_notifications(receivers.settings) if one.message_id == message_id]


def subject() -> str:
    return f"spot:FAIL{uuid.uuid4().hex[:8].upper()}"


@pytest.mark.runbook("notifications-slow")
def test_a_webhook_that_is_overloaded_gets_it_later(receivers: Receivers, followed: FollowedPage) -> None:
    alert = made(subject(), 1)
    receivers.webhook.answers[alert.alert_id] = [503]

    receivers.send([alert])
    eventually(lambda: receivers.rows([alert.alert_id]).get((alert.alert_id, "webhook")), PATIENCE_S)
    before = receivers.webhook.received.total()
    followed.check()
    followed.repair()
    eventually(lambda: receivers.webhook.received.total() > before, PATIENCE_S)  # the test alert

    eventually(lambda: receivers.by_webhook([alert.alert_id]) == {alert.alert_id: 1}, PATIENCE_S)
    place = (alert.alert_id, "webhook")
    eventually(lambda: receivers.rows([alert.alert_id]).get(place) == ("delivered", 2), PATIENCE_S)
    # The other channels did not wait for it, and did not send again.
    assert receivers.by_file([alert.alert_id]) == receivers.by_email([alert.alert_id]) == {alert.alert_id: 1}
    assert dead(receivers, alert.alert_id) == []


@pytest.mark.runbook("notifications-dead")
def test_a_refused_notification_is_buried_and_sent_again_after_the_repair(
    receivers: Receivers, followed: FollowedPage
) -> None:
    alert = made(subject(), 1)
    receivers.webhook.answers[alert.alert_id] = [400]
    receivers.send([alert])
    (buried,) = eventually(lambda: dead(receivers, alert.alert_id), PATIENCE_S)
    assert (buried.channel, buried.reason) == ("webhook", "refused")
    assert "400" in buried.detail
    eventually(lambda: receivers.rows([alert.alert_id])[alert.alert_id, "webhook"][0] == "dead", PATIENCE_S)

    assert "refused" in followed.check()
    plan = CliRunner().invoke(app, ["dlq", "redrive", "notify.dead", "--reason", "refused", "--dry-run", "--json"])
    assert {"sent", "would_send"} & {one["result"] for one in json.loads(plan.stdout)} == {"would_send"}
    assert receivers.by_webhook([alert.alert_id]) == {}
    followed.repair()

    eventually(lambda: receivers.by_webhook([alert.alert_id]) == {alert.alert_id: 1}, PATIENCE_S)
    eventually(lambda: receivers.rows([alert.alert_id])[alert.alert_id, "webhook"][0] == "delivered", PATIENCE_S)
    assert dead(receivers, alert.alert_id) == []
    assert receivers.by_file([alert.alert_id]) == {alert.alert_id: 1}


@pytest.mark.runbook("notifications-not-taken")
def test_notifications_that_no_worker_takes(receivers: Receivers, followed: FollowedPage) -> None:
    supervisor.stop(["notification_worker"])
    alert = made(subject(), 1)
    receivers.send([alert])
    (found,) = eventually(lambda: [one for one in examine() if one.runbook == followed.path][:1], PATIENCE_S)
    assert "no worker takes them" in found.seen

    followed.check()
    followed.repair()

    eventually(lambda: receivers.by_file([alert.alert_id]) == {alert.alert_id: 1}, PATIENCE_S)
    # The figures of RabbitMQ's management are some seconds old.
    eventually(lambda: followed.path not in [one.runbook for one in examine()], PATIENCE_S)


def test_a_message_that_is_no_alert_is_buried_and_stays(receivers: Receivers) -> None:
    poison = f"no alert {uuid.uuid4()}".encode()
    producer = Producer({"bootstrap.servers": receivers.settings.kafka_bootstrap_servers})
    producer.produce(ALERTS, poison)
    assert producer.flush(60) == 0

    def buried() -> list[DeadNotification]:
        return [one for one in dead_notifications(receivers.settings) if one.body == poison]

    (one,) = eventually(buried, PATIENCE_S)
    assert one.reason == "invalid_json"
    assert one.message_id.startswith(f"{ALERTS}:0:")

    done = CliRunner().invoke(app, ["dlq", "redrive", "notify.dead", "--reason", "invalid_json"])

    assert done.exit_code == 5
    assert len(eventually(buried, PATIENCE_S)) == 1


def test_what_died_is_listed_with_the_other_dead_letters(receivers: Receivers) -> None:
    receivers.send([alert := made(subject(), 1)])
    receivers.webhook.answers[alert.alert_id] = [404]
    eventually(lambda: dead(receivers, alert.alert_id) or receivers.by_webhook([alert.alert_id]), PATIENCE_S)
    waiting = len(dead_notifications(receivers.settings))

    listed = CliRunner().invoke(app, ["dlq", "ls", "--json"])

    groups = [group for group in json.loads(listed.stdout)["groups"] if group["topic"] == "notify.dead"]
    assert sum(group["letters"] for group in groups) == waiting > 0
