"""Explain one dead letter."""

from __future__ import annotations

from typing import Any

from common.clients.avro import Undecodable
from common.errors import RejectedRecord
from tickhouse.dlq.error_catalog import entry_of
from tickhouse.dlq.letters import Place
from tickhouse.dlq.reader import letter_at
from tickhouse.dlq.redrive import Redrive
from tickhouse.dlq.resolved import ResolvedLetters


def explanation(drive: Redrive, place: Place) -> dict[str, Any]:
    """Return a letter with the meaning of its error, its record if it decodes today, and its tries.

    Raises:
        ConfigurationError: There is no letter at the place.
        StoreUnavailable: Kafka, the registry or PostgreSQL does not answer.
    """
    letter = letter_at(drive.kafka, place)
    entry = entry_of(letter)
    document = letter.document() | {
        "what": entry.what,
        "mend": entry.fix,
        "resolved": ResolvedLetters.of(drive.kafka)(letter),
    }
    try:
        repaired = drive.repaired(letter)
    except RejectedRecord as error:
        return document | {"redrive": f"not possible: {error.detail}", "event_id": None, "record": None, "tries": []}
    record, note = None, ""
    try:
        record = drive.decoder.decode(repaired.value)
    except Undecodable as error:
        note = f"; its value does not decode today ({error.reason})"
    tries = drive.audit.tries(repaired.fingerprint)
    possible = f"tickhouse dlq redrive {place}{note}"
    return document | {"redrive": possible, "event_id": repaired.event_id, "record": record, "tries": tries}
