from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from common.errors import StoreUnavailable
from tickhouse.alerts.alert import read_message
from tickhouse.alerts.judge import Judge, Moment
from tickhouse.alerts.receiver import MOST_BYTES, AlertReceiver, announcements
from tickhouse.alerts.windows import Windows

TOKEN = "a-token"
FIRING: dict[str, Any] = {
    "status": "firing",
    "labels": {"alertname": "StoreDown", "severity": "critical", "store": "redis", "job": "store_metrics"},
    "annotations": {
        "summary": "redis cannot be read",
        "description": "Why.",
        "runbook_url": "docs/runbook/store-down.md",
    },
    "startsAt": "2026-11-30T11:20:46.965Z",
    "endsAt": "0001-01-01T00:00:00Z",
}
RESOLVED = FIRING | {"status": "resolved", "endsAt": "2026-11-30T11:22:46.965Z"}
MOMENT = Moment(1_000_000, False)


class Topic:
    """Keeps what it is sent; fails when told to."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes]] = []
        self.is_down = False

    def send(self, messages: Sequence[tuple[str, bytes]]) -> None:
        if self.is_down:
            raise StoreUnavailable("Kafka did not accept an alert.")
        self.sent += messages


def post(receiver: AlertReceiver, body: bytes, **environ: Any) -> tuple[int, str]:
    statuses: list[str] = []
    values = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/alerts",
        "HTTP_AUTHORIZATION": f"Bearer {TOKEN}",
        "CONTENT_LENGTH": str(len(body)),
        "QUERY_STRING": "",
        "wsgi.input": io.BytesIO(body),
    }
    parts = receiver(values | environ, lambda status, headers, _=None: statuses.append(status))  # type: ignore[arg-type,return-value]
    return int(statuses[0].split()[0]), b"".join(parts).decode()


def body(*alerts: Any) -> bytes:
    return json.dumps({"version": "4", "alerts": list(alerts)}).encode()


@pytest.fixture
def topic() -> Topic:
    return Topic()


@pytest.fixture
def receiver(topic: Topic) -> AlertReceiver:
    return AlertReceiver(topic, TOKEN, CollectorRegistry())


def judged(message: bytes) -> Any:
    judge = Judge({}, {}, Windows(240, lambda *_: []))
    (alert,) = judge.announcement(read_message(message), MOMENT)
    return alert


def test_an_alert_becomes_one_announcement_and_then_one_alert(receiver: AlertReceiver, topic: Topic) -> None:
    assert post(receiver, body(FIRING)) == (200, "announced 1\n")

    ((key, message),) = topic.sent
    alert = judged(message)
    assert key == "StoreDown"
    assert (alert.rule, alert.kind, alert.severity) == ("StoreDown", "metric_alert", "critical")
    assert (alert.subject, alert.summary) == ("store=redis", "redis cannot be read.")
    assert alert.values["runbook"] == "docs/runbook/store-down.md"


def test_a_repeat_has_the_same_id_and_the_end_has_another() -> None:
    ids = [judged(announcements({"alerts": [one]}, at)[0][1]).alert_id for at, one in enumerate((FIRING, FIRING))]
    end = judged(announcements({"alerts": [RESOLVED]}, 3)[0][1])

    assert ids[0] == ids[1] != end.alert_id
    assert (end.severity, end.summary) == ("info", "resolved: redis cannot be read.")


def test_an_alert_about_a_process_names_its_job() -> None:
    labels = {"alertname": "TargetDown", "severity": "warning", "job": "redis", "instance": "127.0.0.1:21087"}

    alert = judged(announcements({"alerts": [FIRING | {"labels": labels}]}, 1)[0][1])

    assert alert.subject == "instance=127.0.0.1:21087,job=redis"


@pytest.mark.parametrize("token", ["", "Bearer other", TOKEN])
def test_without_the_token_nothing_is_announced(receiver: AlertReceiver, topic: Topic, token: str) -> None:
    assert post(receiver, body(FIRING), HTTP_AUTHORIZATION=token)[0] == 401
    assert topic.sent == []


def test_a_receiver_without_a_token_takes_nothing(topic: Topic) -> None:
    receiver = AlertReceiver(topic, "", CollectorRegistry())

    assert post(receiver, body(FIRING), HTTP_AUTHORIZATION="Bearer ")[0] == 401


def test_while_kafka_is_down_alertmanager_is_asked_to_come_again(receiver: AlertReceiver, topic: Topic) -> None:
    topic.is_down = True
    assert post(receiver, body(FIRING))[0] == 503

    topic.is_down = False
    assert post(receiver, body(FIRING))[0] == 200


@pytest.mark.parametrize(
    "wrong",
    [
        b"no json",
        b"[]",
        b'{"alerts": 3}',
        body("text"),
        body(FIRING | {"labels": {}}),
        body(FIRING | {"labels": 3}),
        body(FIRING | {"status": "suppressed"}),
        body({**FIRING, "startsAt": None}),
    ],
)
def test_another_form_is_refused(receiver: AlertReceiver, topic: Topic, wrong: bytes) -> None:
    assert post(receiver, wrong)[0] == 400
    assert topic.sent == []


def test_a_large_body_and_another_method_are_refused(receiver: AlertReceiver) -> None:
    assert post(receiver, b"{}", CONTENT_LENGTH=str(MOST_BYTES + 1))[0] == 413
    assert post(receiver, b"{}", CONTENT_LENGTH="")[0] == 413
    assert post(receiver, b"{}", REQUEST_METHOD="GET")[0] == 405


def test_the_metrics_are_served_beside_it(receiver: AlertReceiver) -> None:
    post(receiver, body(FIRING))

    status, text = post(receiver, b"", PATH_INFO="/metrics", REQUEST_METHOD="GET")

    assert status == 200
    assert 'tickhouse_alerts_received_total{status="200"} 1.0' in text
