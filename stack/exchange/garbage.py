"""Frames that are no events, each one unique, and the record of which of them a client really read.

None of them holds a readable event id: the dead letter of each is keyed by the hash of the whole frame.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from stack.exchange.connections import BINARY, TEXT, Connection, encode, wrapped

# No cut comes this soon after a garbage frame, and not before the client proved to have read it, up to PATIENCE_S.
SETTLE_S = 1.0
PATIENCE_S = 5.0
# Frames keep this distance, so that the pongs of our probes stay far below Binance's 5 messages a second.
SPACING_S = 0.5


@dataclass(frozen=True)
class Piece:
    """One garbage frame; `reason` is the dead-letter reason a correct consumer would give."""

    kind: str
    reason: str
    opcode: int
    payload: bytes


def piece(seed: int, nth: int, symbol: str, *, is_combined: bool) -> Piece:
    """Return the nth garbage frame of a seed for a connection that reads `symbol`."""
    kind, reason, template = _KINDS[nth % len(_KINDS)]
    nonce = hashlib.sha256(f"{seed}:{nth}".encode()).hexdigest()[:24]
    data = template.replace("<nonce>", nonce).replace("<symbol>", symbol)
    if kind == "not_utf8":
        return Piece(kind, reason, BINARY, data.encode() + b"\xff\xfe\xc3\x28")
    text = wrapped(f"{symbol.lower()}@aggTrade", data) if is_combined and kind in _WRAPPED else data
    if kind == "truncated":
        text = text[: text.index(nonce) + len(nonce)]
    return Piece(kind, reason, TEXT, text.encode())


_EVENT = '{"e":"aggTrade","E":1723161240000,"s":"<symbol>",%s"p":"1.0","q":"1.0","f":1,"l":1,"T":1723161240000}'
_KINDS = (
    ("truncated", "invalid_json", _EVENT % '"x":"<nonce>",'),
    ("not_utf8", "not_utf8", '{"e":"aggTrade","x":"<nonce>'),
    ("not_an_object", "not_an_object", '["<nonce>",1,2,3]'),
    ("missing_id", "missing_field", _EVENT % '"x":"<nonce>",'),
    ("wrong_type", "wrong_type", _EVENT % '"a":{"x":"<nonce>"},'),
    ("unknown_event", "unknown_event_type", '{"e":"tickhouseNonsense","E":1723161240000,"x":"<nonce>"}'),
    ("plain_text", "invalid_json", "no JSON at all <nonce>"),
)
_WRAPPED = ("truncated", "missing_id", "wrong_type", "unknown_event")


@dataclass
class Offered:
    """What became of one garbage frame; times are wall clock, UTC microseconds.

    `delivered_at_us` is when the pong of a ping sent right behind it came back, which proves the client read it.
    """

    nth: int
    sha256: str
    kind: str
    reason: str
    connection: int
    event_time_us: int
    written_at_us: int
    delivered_at_us: int | None = None


class GarbageBin:
    """Holds garbage until a client can surely take it.

    A frame goes to one connection: the oldest one that has been open for a second, has taken everything sent so far
    and is not half open. The playback does not cut a connection within a second after that.
    """

    def __init__(self, seed: int, wall_us: Callable[[], int]) -> None:
        self.seed = seed
        self.wall_us = wall_us
        self.pending: list[int] = []
        self.offered: list[Offered] = []
        self._unsettled: list[tuple[Offered, Connection, float]] = []

    def hand_out(self, connections: Sequence[Connection], now_s: float, event_time_us: int) -> bool:
        """Write the next pending frame if a connection is fit for it and the last one is long enough ago."""
        fit = [c for c in connections if _is_fit(c, now_s)] if self.pending else []
        if not fit or any(now_s - at < SPACING_S for _, _, at in self._unsettled):
            return False
        self._write(self.pending.pop(0), fit[0], now_s, event_time_us)
        return True

    def _write(self, nth: int, target: Connection, now_s: float, event_time_us: int) -> None:
        stream = next(name for name in target.streams if "@" in name)
        made = piece(self.seed, nth, stream.partition("@")[0].upper().strip("!"), is_combined=target.is_combined)
        digest = hashlib.sha256(made.payload).hexdigest()
        record = Offered(nth, digest, made.kind, made.reason, target.number, event_time_us, self.wall_us())
        target.out.append(encode(made.opcode, made.payload))
        target.probe(f"tickhouse-{nth}".encode(), lambda: self._delivered(record))
        target.flush(now_s)
        self._unsettled.append((record, target, now_s))
        self.offered.append(record)

    def _delivered(self, record: Offered) -> None:
        record.delivered_at_us = self.wall_us()

    def is_settled(self, now_s: float) -> bool:
        """Return whether a cut now can lose no garbage: each was written long enough ago and proved read."""
        self._unsettled = [one for one in self._unsettled if _is_unsettled(one, now_s)]
        return not self._unsettled

    def documents(self) -> list[dict[str, Any]]:
        """Return the record as JSON-ready values."""
        return [asdict(one) for one in self.offered]


def _is_unsettled(one: tuple[Offered, Connection, float], now_s: float) -> bool:
    record, connection, written_s = one
    patience_s = SETTLE_S if record.delivered_at_us is not None else PATIENCE_S
    return connection.is_open and now_s - written_s < patience_s


def _is_fit(connection: Connection, now_s: float) -> bool:
    ready = connection.is_open and not connection.is_frozen(now_s) and connection.backlog() == 0
    return ready and now_s - connection.opened_at_s >= SETTLE_S and any("@" in name for name in connection.streams)
