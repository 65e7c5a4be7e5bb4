"""Announce a test on `crypto.alerts`, which the watcher turns into an alert."""

from __future__ import annotations

import getpass
import uuid

from common.settings import Settings
from tickhouse.alerts.alert import alert_id, encode
from tickhouse.alerts.topics import AlertTopic

KIND = "test"


def announce_test(settings: Settings, text: str) -> str:
    """Announce a test and return the id that its alert will have.

    Raises:
        StoreUnavailable: Kafka did not accept the message.
    """
    test_id = str(uuid.uuid4())
    message = {"kind": KIND, "test_id": test_id, "text": text, "by": getpass.getuser()}
    AlertTopic(settings.kafka_bootstrap_servers).send([(KIND, encode(message))])
    return alert_id(KIND, KIND, test_id)
