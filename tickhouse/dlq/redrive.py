"""Send dead letters again.

Contract, in this order for a batch of letters:

1. a letter that was sent again before is left alone: its next failure is a letter of its own;
2. the record is made (tickhouse/dlq/mend.py) or the letter is refused with the reason;
3. its try is written to `audit.redrives`, or the letter is refused because there were three;
4. the records are sent and flushed (`acks=all`);
5. the tries are marked as sent.

Who dies between 3 and 5 leaves tries in state `sending`; the next run sends those again, which changes nothing, because
every store upserts by event id.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import islice
from typing import Any

import httpx

from producer.outbox import Headers, Outbox
from schemas.registry import schema_id
from tickhouse.dlq import mend
from tickhouse.dlq.audit import MOST_TRIES, Audit
from tickhouse.dlq.letters import Letter, Place
from tickhouse.dlq.mend import Mended
from tickhouse.dlq.topics import record_at
from tickhouse.errors import RejectedRecord
from tickhouse.reconcile.avro import Decoder, registry_fetch
from tickhouse.reconcile.kafka import Topics
from tickhouse.settings import Settings

# One flush and one statement for so many letters.
BATCH = 500


@dataclass
class Outcome:
    """What became of one letter: `sent`, `would_send` (dry run), `skipped` (sent before) or `refused`."""

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
        topics: Reads the records that letters were.
        decoder: Reads event ids.
        audit: Where tries are written.
        outbox: Where records go; None only says what would be sent.
        schema_id: The registry's id of our schema by topic.
    """

    topics: Topics
    decoder: Decoder
    audit: Audit
    outbox: Outbox | None
    schema_id: mend.SchemaId
    sent: frozenset[Place] = field(default_factory=frozenset)

    def run(self, letters: Iterable[Letter]) -> Iterator[Outcome]:
        """Yield the outcome of each letter.

        Raises:
            StoreUnavailable: Kafka, the registry or PostgreSQL does not answer; run it again.
        """
        self.sent = self.audit.sent()
        letters = iter(letters)
        while batch := list(islice(letters, BATCH)):
            outcomes = [self._one(letter) for letter in batch]
            if self.outbox is not None:
                self.outbox.flush()
                self.audit.mark_sent(one.letter.place for one in outcomes if one.result == "sent")
            yield from outcomes

    def _one(self, letter: Letter) -> Outcome:
        if letter.place in self.sent:
            return Outcome(letter, "skipped", "sent again before; if it failed again, that is a letter of its own")
        try:
            mended = self.mended(letter)
        except RejectedRecord as error:
            return Outcome(letter, "refused", f"{error.reason}: {error.detail}")
        outcome = Outcome(letter, "would_send", event_id=mended.event_id, topic=mended.topic)
        return outcome if self.outbox is None else self._send(outcome, mended, self.outbox)

    def _send(self, outcome: Outcome, mended: Mended, outbox: Outbox) -> Outcome:
        letter = outcome.letter
        number = self.audit.begin(letter, fingerprint=mended.fingerprint, event_id=mended.event_id, target=mended.topic)
        if number is None:
            return replace(outcome, result="refused", why=f"failed after {MOST_TRIES} tries: mend the cause first")
        headers: Headers = [("redrive.of", str(letter.place)), ("redrive.try", str(number))]
        outbox.send(mended.topic, mended.value, mended.key, headers)
        return replace(outcome, result="sent", tries=number)

    def mended(self, letter: Letter) -> Mended:
        """Return the record that a letter becomes.

        Raises:
            RejectedRecord: It cannot be sent again.
        """
        if letter.writer == "producer":
            return mend.from_frame(letter, self.schema_id)
        return mend.from_record(letter, lambda place: record_at(self.topics, place), self.decoder)


@contextmanager
def connected(settings: Settings, *, role: str = "reader", is_dry: bool = True) -> Iterator[Redrive]:
    """Connect to Kafka, registry and PostgreSQL.

    Args:
        settings: Addresses.
        role: Role of the database: `operator` to send, `reader` to look.
        is_dry: Whether nothing is sent.
    """
    topics = Topics(settings.kafka_bootstrap_servers)
    known: Callable[[str], int] = cache(lambda topic: schema_id(settings.schema_registry_url, f"{topic}-value"))
    try:
        with httpx.Client(timeout=10) as client:
            decoder = Decoder(registry_fetch(settings.schema_registry_url, client))
            outbox = None if is_dry else Outbox.connect(settings.kafka_bootstrap_servers)
            yield Redrive(topics, decoder, Audit(settings.database_dsn(role)), outbox, known)
    finally:
        topics.close()
