"""Send dead letters again.

Contract, in this order per batch of letters:

1. A letter that was already sent again is skipped. If its record failed again, it has a new letter.
2. The record is built (tickhouse/dlq/repaired_records.py), or the letter is refused with a reason.
3. The try is written to `audit.redrives`, or the letter is refused because it had three tries.
4. The records are sent and flushed (`acks=all`).
5. The tries are marked as sent.

A process that dies between 3 and 5 leaves tries in state `sending`. The next run sends those again,
which changes nothing, because every store upserts by event id.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import islice
from typing import Any

import httpx

from common.clients.avro import AvroDecoder, registry_lookup
from common.clients.kafka import TopicLog
from common.errors import RejectedRecord
from common.settings import Settings
from producer.writer.outbox import Headers, Outbox
from schemas.registry import schema_id
from tickhouse.dlq import repaired_records
from tickhouse.dlq.letters import Letter, Place
from tickhouse.dlq.reader import record_at
from tickhouse.dlq.redrive_log import MOST_TRIES, RedriveLog
from tickhouse.dlq.repaired_records import RepairedRecord
from tickhouse.dlq.resolved import ResolvedLetters

# Letters per flush and per statement.
BATCH = 500


@dataclass
class RedriveOutcome:
    """The outcome for one letter.

    `result` is `sent`, `would_send` (dry run), `skipped` (sent before or resolved) or `refused`.
    """

    letter: Letter
    result: str
    why: str = ""
    event_id: str | None = None
    topic: str | None = None
    tries: int | None = None

    def document(self) -> dict[str, Any]:
        """Return the outcome as JSON-ready values."""
        return {
            "letter": str(self.letter.place), "reason": self.letter.reason, "result": self.result, "why": self.why,
            "event_id": self.event_id, "topic": self.topic, "try": self.tries,
        }  # fmt: skip


@dataclass
class Redrive:
    """Sends letters again.

    Args:
        kafka: Reads the letters, and the records that were refused.
        decoder: Reads event ids.
        audit: The log of tries.
        outbox: Sends the records; None for a dry run.
        schema_id: Returns the registry's id of our schema by topic.
    """

    kafka: TopicLog
    decoder: AvroDecoder
    audit: RedriveLog
    outbox: Outbox | None
    schema_id: repaired_records.SchemaId
    sent: frozenset[Place] = field(default_factory=frozenset)
    is_resolved: Callable[[Letter], bool] = lambda _: False

    def run(self, letters: Iterable[Letter]) -> Iterator[RedriveOutcome]:
        """Yield the outcome of each letter.

        Raises:
            StoreUnavailable: Kafka, the registry or PostgreSQL does not answer; a new run is safe.
        """
        self.sent, self.is_resolved = self.audit.sent(), ResolvedLetters.of(self.kafka)
        letters = iter(letters)
        while batch := list(islice(letters, BATCH)):
            outcomes = [self._redrive(letter) for letter in batch]
            if self.outbox is not None:
                self.outbox.flush()
                self.audit.mark_sent(one.letter.place for one in outcomes if one.result == "sent")
            yield from outcomes

    def _redrive(self, letter: Letter) -> RedriveOutcome:
        if letter.place in self.sent:
            return RedriveOutcome(letter, "skipped", "already sent again; if it failed again, there is a new letter")
        if self.is_resolved(letter):
            return RedriveOutcome(letter, "skipped", "resolved: another event with this id is delivered")
        try:
            repaired = self.repaired(letter)
        except RejectedRecord as error:
            return RedriveOutcome(letter, "refused", f"{error.reason}: {error.detail}")
        outcome = RedriveOutcome(letter, "would_send", event_id=repaired.event_id, topic=repaired.topic)
        return outcome if self.outbox is None else self._send(outcome, repaired, self.outbox)

    def _send(self, outcome: RedriveOutcome, repaired: RepairedRecord, outbox: Outbox) -> RedriveOutcome:
        letter = outcome.letter
        number = self.audit.begin(
            letter, fingerprint=repaired.fingerprint, event_id=repaired.event_id, target=repaired.topic
        )
        if number is None:
            return replace(outcome, result="refused", why=f"failed after {MOST_TRIES} tries: fix the cause first")
        headers: Headers = [("redrive.of", str(letter.place)), ("redrive.try", str(number))]
        outbox.send(repaired.topic, repaired.value, repaired.key, headers)
        return replace(outcome, result="sent", tries=number)

    def repaired(self, letter: Letter) -> RepairedRecord:
        """Return the record to send for a letter.

        Raises:
            RejectedRecord: It cannot be sent again.
        """
        if letter.writer == "producer":
            return repaired_records.from_frame(letter, self.schema_id)
        return repaired_records.from_record(letter, lambda place: record_at(self.kafka, place), self.decoder)


@contextmanager
def connected(settings: Settings, *, role: str = "reader", is_dry: bool = True) -> Iterator[Redrive]:
    """Connect to Kafka, registry and PostgreSQL.

    Args:
        settings: Addresses.
        role: Role in the database: `operator` to send, `reader` to read.
        is_dry: Whether nothing is sent.
    """
    kafka = TopicLog.for_command(settings.kafka_bootstrap_servers)
    known: Callable[[str], int] = cache(lambda topic: schema_id(settings.schema_registry_url, f"{topic}-value"))
    try:
        with httpx.Client(timeout=10) as client:
            decoder = AvroDecoder(registry_lookup(settings.schema_registry_url, client))
            outbox = None if is_dry else Outbox.connect(settings.kafka_bootstrap_servers)
            yield Redrive(kafka, decoder, RedriveLog(settings.database_dsn(role)), outbox, known)
    finally:
        kafka.close()
