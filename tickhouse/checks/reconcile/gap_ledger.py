"""The checker's own reader of the gap ledger: which ids each writer has seen, and the gaps."""

from __future__ import annotations

import base64
import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from common.errors import ConfigurationError
from tickhouse.checks.reconcile import ranges
from tickhouse.checks.reconcile.kafka import LogRecord
from tickhouse.checks.reconcile.model import CheckedStream
from tickhouse.checks.reconcile.ranges import Range

# Ids per part of a snapshot.
PART_IDS = 1 << 16


@dataclass
class Ledger:
    """The latest value of each key of `crypto.ledger` and `crypto.gaps`."""

    # Heads and parts. Each is valid on its own, so a reader takes the union of all.
    writers: list[dict[str, Any]] = field(default_factory=list)
    gaps: list[dict[str, Any]] = field(default_factory=list)

    def seen(self) -> dict[CheckedStream, list[Range]]:
        """Return, by stream, the ids that writers sent to `crypto.trades` or the dead letters."""
        spans: dict[CheckedStream, list[Range]] = defaultdict(list)
        for writer in self.writers:
            spans[stream_of(writer)] += seen_of(writer)
        return {key: ranges.merged(found) for key, found in spans.items()}

    def gap_ranges(self, *states: str) -> dict[CheckedStream, list[Range]]:
        """Return, by stream, the ids of the gaps in these states (open, filled, unfillable)."""
        spans: dict[CheckedStream, list[Range]] = defaultdict(list)
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


def seen_of(value: dict[str, Any]) -> list[Range]:
    """Return the ids under `seen` of a head or part."""
    return ids_of(value, "seen")


def ids_of(value: dict[str, Any], name: str) -> list[Range]:
    """Return the ids under a name (`seen`) of a head or part.

    A part with many ranges holds them as a bitmap: bit i of `<name>_bits` (base64; byte i // 8,
    least significant bit first) stands for id `part` * 65,536 + i.
    """
    spans = [(int(low), int(high)) for low, high in value[name]]
    bits = value.get(f"{name}_bits")
    return spans if bits is None else spans + _bitmap_ranges(base64.b64decode(bits), int(value["part"]))


def _bitmap_ranges(bitmap: bytes, part: int) -> list[Range]:
    # The least significant bit comes first; the added 0 ends the last run of ones.
    bits = f"{int.from_bytes(bitmap, 'little'):b}"[::-1] + "0"
    spans, start = list[Range](), bits.find("1")
    while start >= 0:
        end = bits.find("0", start)
        spans.append((part * PART_IDS + start, part * PART_IDS + end - 1))
        start = bits.find("1", end)
    return spans


def stream_of(value: dict[str, Any]) -> CheckedStream:
    """Return the stream of a ledger or gap value."""
    return CheckedStream(value["market"], value["symbol"], value["stream"])


def read(ledger: Iterable[LogRecord], gaps: Iterable[LogRecord]) -> Ledger:
    """Return the ledger from both topics: the last value of each key, unless it is a tombstone.

    Raises:
        ConfigurationError: A value is not an entry of the ledger.
    """
    return Ledger(_latest(ledger, ("seen",)), _latest(gaps, ("first_id", "last_id", "state")))


def _latest(records: Iterable[LogRecord], needed: tuple[str, ...]) -> list[dict[str, Any]]:
    values: dict[bytes | None, dict[str, Any]] = {}
    for record in records:
        if record.value is None:
            values.pop(record.key, None)
            continue
        values[record.key] = _parsed(record, needed)
    return list(values.values())


def _parsed(record: LogRecord, needed: tuple[str, ...]) -> dict[str, Any]:
    try:
        value: dict[str, Any] = json.loads(record.value or b"")
        for name in (*needed, "market", "symbol", "stream"):
            value[name]
    except (ValueError, KeyError, TypeError) as error:
        where = f"{record.topic}-{record.partition}@{record.offset}"
        raise ConfigurationError(f"{where} is not an entry of the gap ledger: {error!r}.") from error
    return value
