"""Malformed frames, and the record of which of them a client has read.

Each frame is unique. None contains a readable event id, so the key of its dead letter is the hash
of the whole frame.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from common.symbols import in_stream_name
from standins.exchange.connections import BINARY, TEXT, Connection, encode, wrapped

# A connection is not cut sooner than READ_MARGIN_S after a malformed frame, and not before the
# client confirmed that it read the frame. We wait for the confirmation at most CONFIRM_TIMEOUT_S.
READ_MARGIN_S = 1.0
CONFIRM_TIMEOUT_S = 5.0
# Time between two frames. Each is followed by a ping, and the pongs must stay well below Binance's
# limit of 5 client messages per second.
SPACING_S = 0.5


@dataclass(frozen=True)
class MalformedFrame:
    """One malformed frame; `reason` is the reason that its dead letter must have."""

    kind: str
    reason: str
    opcode: int
    payload: bytes


def malformed_frame(seed: int, nth: int, symbol: str, *, is_combined: bool) -> MalformedFrame:
    """Return the nth malformed frame of a seed, for a connection that reads `symbol`."""
    kind, reason, template = _KINDS[nth % len(_KINDS)]
    nonce = hashlib.sha256(f"{seed}:{nth}".encode()).hexdigest()[:24]
    data = template.replace("<nonce>", nonce).replace("<symbol>", symbol)
    if kind == "not_utf8":
        return MalformedFrame(kind, reason, BINARY, data.encode() + b"\xff\xfe\xc3\x28")
    text = wrapped(f"{in_stream_name(symbol)}@aggTrade", data) if is_combined and kind in _WRAPPED else data
    if kind == "truncated":
        text = text[: text.index(nonce) + len(nonce)]
    return MalformedFrame(kind, reason, TEXT, text.encode())


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
class SentMalformedFrame:
    """The record of one malformed frame; times are wall clock, in UTC microseconds.

    `delivered_at_us` is the time of the pong to a ping that was sent right after the frame; it
    proves that the client read the frame.
    """

    nth: int
    sha256: str
    kind: str
    reason: str
    connection: int
    event_time_us: int
    written_at_us: int
    delivered_at_us: int | None = None


class MalformedFrameSender:
    """Sends each malformed frame when it is certain that a client will read it.

    A frame goes to one connection: the oldest one that has been open for a second, has read
    everything so far and is not half open. The playback does not cut a connection within a second
    after that.
    """

    def __init__(self, seed: int, wall_us: Callable[[], int]) -> None:
        self.seed = seed
        self.wall_us = wall_us
        self.pending: list[int] = []
        self.offered: list[SentMalformedFrame] = []
        self._unconfirmed: list[tuple[SentMalformedFrame, Connection, float]] = []

    def send_next(self, connections: Sequence[Connection], now_s: float, event_time_us: int) -> bool:
        """Send the next frame if a connection is ready and it is time.

        Return whether it was sent.
        """
        fit = [c for c in connections if _can_receive(c, now_s)] if self.pending else []
        if not fit or any(now_s - at < SPACING_S for _, _, at in self._unconfirmed):
            return False
        self._write(self.pending.pop(0), fit[0], now_s, event_time_us)
        return True

    def _write(self, nth: int, target: Connection, now_s: float, event_time_us: int) -> None:
        stream = next(name for name in target.streams if "@" in name)
        made = malformed_frame(
            self.seed, nth, stream.partition("@")[0].upper().strip("!"), is_combined=target.is_combined
        )
        digest = hashlib.sha256(made.payload).hexdigest()
        record = SentMalformedFrame(nth, digest, made.kind, made.reason, target.number, event_time_us, self.wall_us())
        target.out.append(encode(made.opcode, made.payload))
        target.check_read(f"tickhouse-{nth}".encode(), lambda: self._delivered(record))
        target.flush(now_s)
        self._unconfirmed.append((record, target, now_s))
        self.offered.append(record)

    def _delivered(self, record: SentMalformedFrame) -> None:
        record.delivered_at_us = self.wall_us()

    def is_confirmed(self, now_s: float) -> bool:
        """Return whether a cut now would lose no malformed frame."""
        self._unconfirmed = [sent for sent in self._unconfirmed if _awaits_confirmation(sent, now_s)]
        return not self._unconfirmed

    def as_documents(self) -> list[dict[str, Any]]:
        """Return the records as values for JSON."""
        return [asdict(frame) for frame in self.offered]


def _awaits_confirmation(one: tuple[SentMalformedFrame, Connection, float], now_s: float) -> bool:
    record, connection, written_s = one
    patience_s = READ_MARGIN_S if record.delivered_at_us is not None else CONFIRM_TIMEOUT_S
    return connection.is_open and now_s - written_s < patience_s


def _can_receive(connection: Connection, now_s: float) -> bool:
    ready = connection.is_open and not connection.is_frozen(now_s) and connection.backlog() == 0
    return ready and now_s - connection.opened_at_s >= READ_MARGIN_S and any("@" in name for name in connection.streams)
