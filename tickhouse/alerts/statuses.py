"""What the watcher polls: the gap ledger and the lag of every consumer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from common.clients.kafka import TopicLog
from common.errors import TransientError
from common.settings import Settings
from common.topics import GAPS
from tickhouse.status.kafka import kafka_status

_FIELDS = {"market", "symbol", "stream", "first_id", "last_id", "state", "detected_at_us"}


class GapTable:
    """The latest value of every gap; each look reads only what is new in the topic.

    Args:
        kafka: A reader that the caller closes.
    """

    def __init__(self, kafka: TopicLog) -> None:
        self._kafka = kafka
        self._next: dict[int, int] = {}
        self._values: dict[bytes, Mapping[str, Any]] = {}

    def read(self) -> Iterable[Mapping[str, Any]]:
        """Return the latest values.

        Raises:
            StoreUnavailable: Kafka does not answer.
        """
        for record in self._kafka.records(GAPS, self._next):
            self._next[record.partition] = record.offset + 1
            if record.key is None:
                continue
            value = _gap(record.value)
            if value is None:
                self._values.pop(record.key, None)
            else:
                self._values[record.key] = value
        return self._values.values()


def _gap(value: bytes | None) -> Mapping[str, Any] | None:
    try:
        document = msgspec.json.decode(value or b"null")
    except msgspec.DecodeError:
        return None
    return document if isinstance(document, dict) and document.keys() >= _FIELDS else None


def lags(settings: Settings) -> dict[str, int]:
    """Return the lag of each consumer in records; empty when Kafka does not answer.

    A Kafka that is down is no lag: the watcher itself waits for it then.
    """
    try:
        found: dict[str, int] = kafka_status(settings)["lag_records"]
    except TransientError:
        return {}
    return found
