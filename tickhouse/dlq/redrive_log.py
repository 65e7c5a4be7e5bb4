"""The log of dead letters that were sent again: table `audit.redrives`.

It has one row per letter, and it limits the tries of a record to three.

A record that fails again gets a second letter. Both have the same fingerprint, and the rows of a
fingerprint are its tries. A row is written before the record is sent, and marked after. A process
that dies in between leaves a row in state `sending`; the next run sends that record again without
a new try.
"""

from __future__ import annotations

import getpass
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, LiteralString

import psycopg

from common.errors import StoreUnavailable
from tickhouse.dlq.letters import Letter, Place

MOST_TRIES = 3

_STATES: LiteralString = "SELECT letter_topic, letter_partition, letter_offset, state FROM audit.redrives"
_TRIES: LiteralString = """
SELECT try, state, letter_topic, letter_partition, letter_offset, at, sent_at, by_user FROM audit.redrives
WHERE fingerprint = %s ORDER BY try
"""
_LOCK: LiteralString = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))"
_BEGIN: LiteralString = """
INSERT INTO audit.redrives
    (letter_topic, letter_partition, letter_offset, fingerprint, event_id, reason, target_topic, by_user, try)
SELECT %(topic)s, %(partition)s, %(offset)s, %(fingerprint)s, %(event_id)s, %(reason)s, %(target)s, %(by)s, 1 + count(*)
FROM audit.redrives WHERE fingerprint = %(fingerprint)s
HAVING count(*) < %(most)s
ON CONFLICT DO NOTHING
RETURNING try
"""
_SENDING: LiteralString = """
SELECT try FROM audit.redrives
WHERE (letter_topic, letter_partition, letter_offset) = (%s, %s, %s) AND state = 'sending'
"""
_SENT: LiteralString = """
UPDATE audit.redrives SET state = 'sent', sent_at = clock_timestamp()
WHERE (letter_topic, letter_partition, letter_offset) = (%s, %s, %s)
"""


class RedriveLog:
    """Reads and writes `audit.redrives`.

    Args:
        dsn: PostgreSQL, as tickhouse_operator to write, as tickhouse_reader to read.
    """

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn

    def sent(self) -> frozenset[Place]:
        """Return the places of the letters that were sent again.

        Raises:
            StoreUnavailable: PostgreSQL does not answer.
        """
        with self._connected() as connection:
            rows = connection.execute(_STATES).fetchall()
        return frozenset(Place(*row[:3]) for row in rows if row[3] == "sent")

    def tries(self, fingerprint: str) -> list[dict[str, Any]]:
        """Return every try of one record, the oldest first.

        Raises:
            StoreUnavailable: PostgreSQL does not answer.
        """
        with self._connected() as connection:
            rows = connection.execute(_TRIES, [fingerprint]).fetchall()
        return [
            {"try": row[0], "state": row[1], "letter": str(Place(*row[2:5])), "at": str(row[5]),
             "sent_at": None if row[6] is None else str(row[6]), "by": row[7]}
            for row in rows
        ]  # fmt: skip

    def begin(self, letter: Letter, *, fingerprint: str, event_id: str | None, target: str) -> int | None:
        """Write the row of a try and return its number; None if there were three already.

        A letter whose row is still in state `sending` keeps its try.

        Raises:
            StoreUnavailable: PostgreSQL does not answer.
        """
        values = {**letter.place._asdict(), "fingerprint": fingerprint, "event_id": event_id, "reason": letter.reason,
                  "target": target, "by": getpass.getuser(), "most": MOST_TRIES}  # fmt: skip
        with self._connected() as connection:
            connection.execute(_LOCK, [fingerprint])  # two redrives at the same time must not both be the third
            row = connection.execute(_SENDING, letter.place).fetchone()
            row = row or connection.execute(_BEGIN, values).fetchone()
        return None if row is None else int(row[0])

    def mark_sent(self, places: Iterable[Place]) -> None:
        """Record that Kafka has the records of these letters.

        Raises:
            StoreUnavailable: PostgreSQL does not answer; the next redrive sends them again and
                marks them.
        """
        with self._connected() as connection:
            connection.cursor().executemany(_SENT, list(places))

    @contextmanager
    def _connected(self) -> Iterator[psycopg.Connection[Any]]:
        try:
            with psycopg.connect(self._dsn, connect_timeout=10, application_name="tickhouse-dlq") as connection:
                yield connection
        except psycopg.Error as error:
            raise StoreUnavailable(
                f"PostgreSQL cannot read or write the log of redrives: {str(error).strip()}",
                safe="No dead letter is ever changed or removed.",
                next_command="tickhouse status",
            ) from error
