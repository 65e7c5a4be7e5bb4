"""Find out which dead letters are resolved.

A letter is resolved when a good copy of its event was delivered, before or after the letter.

This is computed from `crypto.ledger`, in which each writer records the ids that it has seen and
which of them it refused. No other state is kept.
"""

from __future__ import annotations

from collections.abc import Mapping

from common.clients import gap_ledger
from common.clients.kafka import TopicLog
from common.event_ids import StreamName, parse_event_id
from common.intervals import IntervalSet
from tickhouse.dlq.letters import Letter


class ResolvedLetters:
    """Finds out whether the id of a letter is delivered.

    Args:
        delivered: Delivered ids by stream.
    """

    def __init__(self, delivered: Mapping[StreamName, IntervalSet]) -> None:
        self._delivered = delivered

    @classmethod
    def of(cls, kafka: TopicLog) -> ResolvedLetters:
        """Read the ledger.

        Raises:
            StoreUnavailable: Kafka does not answer.
        """
        return cls(gap_ledger.delivered_ids(gap_ledger.read_ledger(kafka)))

    def __call__(self, letter: Letter) -> bool:
        """Return whether another event with the letter's id is in `crypto.trades`.

        A conflict is never resolved: it holds the other payload of a delivered id.
        """
        if letter.writer != "producer" or letter.reason == "conflict" or letter.key is None:
            return False
        try:
            stream, number = parse_event_id(letter.key.decode())
        except ValueError:  # a hash: the id of the frame could not be read
            return False
        return number in self._delivered.get(stream, IntervalSet())
