"""Reopen gaps for ids that no system has any more, and remove them from the ledger (pure).

An id in a snapshot of `crypto.ledger` counts as sent, so neither a replay nor a REST backfill would
send it again. When Kafka has deleted its record and no store has the event, it must be possible to
send it again.
Snapshots have two forms: ranges under `seen`, or a bitmap of one block of ids (`part`) under
`seen_bits`.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, Final

from common.clients.gap_ledger import ids_of
from common.event_ids import StreamName
from common.intervals import IntervalSet
from producer.events import TRADE_STREAMS
from producer.ledger.gaps import Gap
from producer.ledger.snapshots import BLOCK_IDS

EXPIRED: Final = "expired"

Ids = dict[StreamName, IntervalSet]
Values = Mapping[str, Mapping[str, Any]]


def stream_of(key: str) -> StreamName | None:
    """Return the trade stream of a key of `crypto.ledger`; None for ticks and other keys."""
    market, symbol, stream, *_ = [*key.split("/"), "", "", ""]
    return StreamName(market, symbol, stream) if stream in TRADE_STREAMS else None


def sent_ids(ledger: Values) -> Ids:
    """Return by stream the ids that were sent to `crypto.trades`: those seen and not rejected."""
    seen, rejected = _ids_of(ledger, "seen"), _ids_of(ledger, "rejected")
    return {stream: minus(ids, rejected.get(stream, IntervalSet())) for stream, ids in seen.items()}


def _ids_of(ledger: Values, name: str) -> Ids:
    by_stream: Ids = {}
    for key, value in ledger.items():
        stream = stream_of(key)
        if stream is not None:
            by_stream.setdefault(stream, IntervalSet()).update(ids_of(value, name))
    return by_stream


def minus(ids: IntervalSet, other: IntervalSet) -> IntervalSet:
    """Return the ids that are not in the other set."""
    return IntervalSet(part for low, high in ids for part in other.missing(low, high))


def gone_ids(sent: Ids, held: Ids) -> Ids:
    """Return by stream the ids that were sent and that no system has any more."""
    gone = {stream: minus(ids, held.get(stream, IntervalSet())) for stream, ids in sent.items()}
    return {stream: ids for stream, ids in gone.items() if ids.last is not None}


def gaps_for(gone: Ids, now_us: int) -> list[Gap]:
    """Return an open gap for each range of ids that is gone."""
    return [
        Gap(*stream, low, high, "open", now_us, reason=EXPIRED, source="KAFKA")
        for stream, ids in sorted(gone.items())
        for low, high in ids
    ]


def snapshots_without(ledger: Values, gone: Ids) -> dict[str, dict[str, Any]]:
    """Return the snapshots that contain gone ids, with those ids removed."""
    changed = {}
    for key, value in ledger.items():
        stream = stream_of(key)
        ids = gone.get(stream) if stream is not None else None
        fresh = _without(value, ids) if ids is not None else value
        if fresh != value:
            changed[key] = dict(fresh)
    return changed


def _without(value: Mapping[str, Any], gone: IntervalSet) -> Mapping[str, Any]:
    seen = IntervalSet((int(low), int(high)) for low, high in value.get("seen") or ())
    fresh = {**value, "seen": [list(pair) for pair in minus(seen, gone)]}
    bits = value.get("seen_bits")
    if bits is not None:
        fresh["seen_bits"] = _clear_bits(bits, int(value["part"]) * BLOCK_IDS, gone)
    return fresh


def _clear_bits(bits: str, first: int, gone: IntervalSet) -> str:
    raw = base64.b64decode(bits)
    number = int.from_bytes(raw, "little")
    in_block = ((max(low, first), min(high, first + BLOCK_IDS - 1)) for low, high in gone)
    for low, high in in_block:
        number &= ~(((1 << max(0, high - low + 1)) - 1) << max(0, low - first))
    return base64.b64encode(number.to_bytes(len(raw), "little")).decode()
