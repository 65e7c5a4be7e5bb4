"""Everything about one dead letter."""

from __future__ import annotations

from typing import Any

from tickhouse.dlq.letters import Place
from tickhouse.dlq.meanings import meaning
from tickhouse.dlq.redrive import Redrive
from tickhouse.dlq.topics import letter_at
from tickhouse.errors import RejectedRecord
from tickhouse.reconcile.avro import Undecodable


def explanation(drive: Redrive, place: Place) -> dict[str, Any]:
    """Return a letter with the meaning of its error, its record when it decodes today, and its tries.

    Raises:
        ConfigurationError: There is no letter at the place.
        StoreUnavailable: Kafka, the registry or PostgreSQL does not answer.
    """
    letter = letter_at(drive.topics, place)
    what, mend = meaning(letter)
    document = letter.document() | {"what": what, "mend": mend}
    try:
        mended = drive.mended(letter)
    except RejectedRecord as error:
        return document | {"redrive": f"not possible: {error.detail}", "event_id": None, "record": None, "tries": []}
    record, note = None, ""
    try:
        record = drive.decoder.decode(mended.value)
    except Undecodable as error:
        note = f"; its value does not decode today either ({error.reason})"
    tries = drive.audit.tries(mended.fingerprint)
    possible = f"tickhouse dlq redrive {place}{note}"
    return document | {"redrive": possible, "event_id": mended.event_id, "record": record, "tries": tries}
