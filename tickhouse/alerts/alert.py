"""An alert, and its message on topic `crypto.alerts`.

The topic holds two forms of messages. An *announcement* says that something happened: Airflow's
tasks send one for a failed run, and `tickhouse alerts test` sends one. It has a `kind` and no
`alert_id`. An *alert* has an `alert_id`; the watcher makes it from a rule. Only alerts become
notifications.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from common.errors import RejectedRecord

# The id of an alert is a UUID of version 5 in this namespace (RFC 9562): the same rule, subject and
# window give the same id, on every machine.
NAMESPACE: Final = uuid.UUID("5d2f7f0e-6a0c-5f43-9d0e-9b5c1f1f7a30")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_REQUIRED: Final = ("alert_id", "rule", "kind", "severity", "subject", "window", "raised_at", "summary")


def alert_id(rule: str, subject: str, window: str) -> str:
    """Return the id of what a rule says about a subject in a window."""
    return str(uuid.uuid5(NAMESPACE, f"{rule}\n{subject}\n{window}"))


def iso(time_us: int) -> str:
    """Return microseconds since 1970 as ISO 8601 in UTC, exactly."""
    return (_EPOCH + timedelta(microseconds=time_us)).isoformat().replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert.

    Attributes:
        rule: Id of the rule.
        kind: Kind of the rule, or `test`.
        severity: info, warning or critical.
        subject: What it is about: `spot:BTCUSDT`, a stream, a store or a DAG.
        window: Which time or run it is about; with rule and subject it makes the id.
        raised_at_us: When the watcher raised it; a repeat of the same alert may differ here only.
        summary: One sentence.
        values: The figures, as text.
        market: Market of the subject, if it has one.
        symbol: Symbol of the subject, if it has one.
        is_historic: It is about old data, for example a replayed file. Nobody is notified.
        is_simulated: The market is synthetic.
    """

    rule: str
    kind: str
    severity: str
    subject: str
    window: str
    raised_at_us: int
    summary: str
    values: Mapping[str, str] = field(default_factory=dict)
    market: str | None = None
    symbol: str | None = None
    is_historic: bool = False
    is_simulated: bool = False

    @property
    def alert_id(self) -> str:
        """Return the id, which does not depend on when it was raised."""
        return alert_id(self.rule, self.subject, self.window)

    def document(self) -> dict[str, Any]:
        """Return the message as JSON-ready values."""
        return {
            "alert_id": self.alert_id,
            "rule": self.rule,
            "kind": self.kind,
            "severity": self.severity,
            "subject": self.subject,
            "window": self.window,
            "market": self.market,
            "symbol": self.symbol,
            "raised_at": iso(self.raised_at_us),
            "summary": self.summary,
            "values": dict(self.values),
            "is_historic": self.is_historic,
            "is_simulated": self.is_simulated,
        }


def encode(document: Mapping[str, Any]) -> bytes:
    """Return the bytes of a message."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def read_message(value: bytes | None) -> dict[str, Any]:
    """Return a message of `crypto.alerts`.

    Raises:
        RejectedRecord: It is not an announcement, and not an alert.
    """
    try:
        document = json.loads(value or b"")
    except ValueError as error:
        raise RejectedRecord("invalid_json", f"Expected a JSON object, was {(value or b'')[:60]!r}") from error
    if not isinstance(document, dict) or not isinstance(document.get("kind"), str):
        raise RejectedRecord("wrong_type", f"Expected an object with a kind, was {(value or b'')[:60]!r}")
    if is_alert(document):
        wrong = [name for name in _REQUIRED if not isinstance(document.get(name), str)]
        if wrong:
            raise RejectedRecord("missing_field", f"Expected text under {', '.join(wrong)}")
    return document


def is_alert(document: Mapping[str, Any]) -> bool:
    """Return whether a message is an alert; otherwise it is an announcement."""
    return "alert_id" in document


def raised_at(document: Mapping[str, Any]) -> datetime:
    """Return when an alert was raised.

    Raises:
        RejectedRecord: Its time does not parse.
    """
    try:
        return datetime.fromisoformat(document["raised_at"]).astimezone(UTC)
    except ValueError as error:
        raise RejectedRecord("bad_time", f"Expected ISO 8601, was {document['raised_at']!r}") from error
