"""The gap ledger in Kafka: which ids each writer has seen, and which ranges of ids are missing.

`crypto.ledger` holds one head per stream and writer, and parts where the ids are in many pieces
(docs/adr/0017). Each record is valid on its own, so a reader takes the union of all.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from common.clients.kafka import TopicLog
from common.errors import ConfigurationError
from common.event_ids import StreamName
from common.intervals import IntervalSet
from common.topics import GAPS, LEDGER

# Ids per part.
PART_IDS: Final = 1 << 16
_ONES: Final = re.compile("1+")
_STREAM_FIELDS: Final = ("market", "symbol", "stream")

Values = Sequence[Mapping[str, Any]]
Ids = dict[StreamName, IntervalSet]


def read_ledger(kafka: TopicLog) -> Values:
    """Return the latest heads and parts of all writers.

    Raises:
        StoreUnavailable: Kafka does not answer.
        ConfigurationError: A value in the topic is not an entry of the ledger.
    """
    return _latest(kafka, LEDGER, ("seen",))


def read_gaps(kafka: TopicLog) -> Values:
    """Return the latest value of every gap.

    Raises:
        StoreUnavailable: Kafka does not answer.
        ConfigurationError: A value in the topic is not a gap.
    """
    return _latest(kafka, GAPS, ("first_id", "last_id", "state"))


def _latest(kafka: TopicLog, topic: str, needed: tuple[str, ...]) -> Values:
    try:
        values = kafka.latest(topic)
    except msgspec.DecodeError as error:
        raise ConfigurationError(f"{topic} holds a value that is not JSON: {error}.") from error
    for key, value in values.items():
        if not isinstance(value, dict) or any(name not in value for name in (*_STREAM_FIELDS, *needed)):
            wanted = ", ".join((*_STREAM_FIELDS, *needed))
            raise ConfigurationError(f"{topic} holds a value under {key!r} without some of the fields {wanted}.")
    return list(values.values())


def stream_of(value: Mapping[str, Any]) -> StreamName:
    """Return the stream of a ledger or gap value."""
    return StreamName(value["market"], value["symbol"], value["stream"])


def ids_of(value: Mapping[str, Any], name: str) -> list[tuple[int, int]]:
    """Return the ids under `seen` or `rejected` of a head or part, as inclusive ranges.

    Parts and heads of an earlier version lack what is empty.

    A part with many ranges holds them as a bitmap: bit i of `<name>_bits` (base64; byte i // 8,
    least significant bit first) stands for id `part` * 65,536 + i.
    """
    ranges = [(int(low), int(high)) for low, high in value.get(name, ())]
    bits = value.get(f"{name}_bits")
    if bits is None:
        return ranges
    first = int(value["part"]) * PART_IDS
    digits = f"{int.from_bytes(base64.b64decode(bits), 'little'):b}"[::-1]
    return ranges + [(first + run.start(), first + run.end() - 1) for run in _ONES.finditer(digits)]


def delivered_ids(ledger: Values) -> Ids:
    """Return, by stream, the ids that a writer has sent to `crypto.trades`.

    These are the ids that it has seen and not rejected. Heads of an earlier version do not list the
    rejected ids, so they are left out.
    """
    seen: dict[tuple[StreamName, str], IntervalSet] = {}
    rejected: dict[tuple[StreamName, str], IntervalSet] = {}
    for value in ledger:
        if "rejected" in value:
            writer = (stream_of(value), str(value.get("writer")))
            seen.setdefault(writer, IntervalSet()).update(ids_of(value, "seen"))
            rejected.setdefault(writer, IntervalSet()).update(ids_of(value, "rejected"))
    delivered: Ids = {}
    for (stream, name), ids in seen.items():
        ids.remove(rejected[stream, name])
        delivered.setdefault(stream, IntervalSet()).update(ids)
    return delivered


def gap_ids(gaps: Values, states: Iterable[str]) -> Ids:
    """Return, by stream, the ids of the gaps in one of these states (open, filled, unfillable)."""
    chosen = frozenset(states)
    ids: Ids = {}
    for gap in gaps:
        if gap["state"] in chosen:
            ids.setdefault(stream_of(gap), IntervalSet()).add_range(gap["first_id"], gap["last_id"])
    return ids
