"""The gap ledger as Kafka holds it: which ids each writer says are in the log, and which gaps are open."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tickhouse.errors import ConfigurationError
from tickhouse.reconcile import ranges
from tickhouse.reconcile.kafka import Record
from tickhouse.reconcile.model import StreamKey
from tickhouse.reconcile.ranges import Range


@dataclass
class Ledger:
    """Latest value of each key of `crypto.ledger` and `crypto.gaps`."""

    writers: list[dict[str, Any]] = field(default_factory=list)
    gaps: list[dict[str, Any]] = field(default_factory=list)

    def seen(self) -> dict[StreamKey, list[Range]]:
        """Return, by stream, the ids that some writer says are in `crypto.trades` or in the dead letters."""
        spans: dict[StreamKey, list[Range]] = defaultdict(list)
        for writer in self.writers:
            spans[stream_of(writer)] += [(low, high) for low, high in writer["seen"]]
        return {key: ranges.merged(found) for key, found in spans.items()}

    def gap_ranges(self, *states: str) -> dict[StreamKey, list[Range]]:
        """Return, by stream, the ids of the gaps in one of these states (open, filled, unfillable)."""
        spans: dict[StreamKey, list[Range]] = defaultdict(list)
        for gap in self.gaps:
            if gap["state"] in states:
                spans[stream_of(gap)].append((gap["first_id"], gap["last_id"]))
        return {key: ranges.merged(found) for key, found in spans.items()}

    def count(self, state: str) -> int:
        """Return how many gaps are in a state."""
        return sum(gap["state"] == state for gap in self.gaps)

    def total(self, name: str) -> int:
        """Return a counter of all writers together (received, sampled_out, …)."""
        return sum(int(writer.get("counts", {}).get(name, 0)) for writer in self.writers)


def stream_of(value: dict[str, Any]) -> StreamKey:
    """Return the stream that a ledger or gap value is about."""
    return StreamKey(value["market"], value["symbol"], value["stream"])


def read(ledger: Iterable[Record], gaps: Iterable[Record]) -> Ledger:
    """Fold both topics: the last value of a key counts, a tombstone removes it.

    Raises:
        ConfigurationError: A value is not what the ledger writes.
    """
    return Ledger(_latest(ledger, ("seen",)), _latest(gaps, ("first_id", "last_id", "state")))


def _latest(records: Iterable[Record], needed: tuple[str, ...]) -> list[dict[str, Any]]:
    values: dict[bytes | None, dict[str, Any]] = {}
    for record in records:
        if record.value is None:
            values.pop(record.key, None)
            continue
        values[record.key] = _parsed(record, needed)
    return list(values.values())


def _parsed(record: Record, needed: tuple[str, ...]) -> dict[str, Any]:
    try:
        value: dict[str, Any] = json.loads(record.value or b"")
        for name in (*needed, "market", "symbol", "stream"):
            value[name]
    except (ValueError, KeyError, TypeError) as error:
        where = f"{record.topic}-{record.partition}@{record.offset}"
        raise ConfigurationError(f"{where} is no entry of the gap ledger: {error!r}.") from error
    return value
