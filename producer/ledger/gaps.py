"""Which ids are missing, and the state of each range. The caller publishes these decisions.

The gaps of a stream are sorted and do not overlap, so the gap of an id is found by bisection. A
stream whose ids skip has thousands of gaps, so nothing that runs per event may visit all of them.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from itertools import pairwise
from operator import attrgetter
from typing import Any, Final

import msgspec

from common.intervals import IntervalSet
from producer.ledger.stream_ledger import StreamLedger

OPEN: Final = "open"
FILLED: Final = "filled"
UNFILLABLE: Final = "unfillable"

Piece = tuple[int, int, str]


class Gap(msgspec.Struct, gc=False):
    """A range of ids that the exchange sent and we do not have; the value of crypto.gaps."""

    market: str
    symbol: str
    stream: str
    first_id: int
    last_id: int
    state: str
    detected_at_us: int
    closed_at_us: int | None = None
    filled_ids: int = 0
    reason: str = ""
    source: str = ""
    v: int = 1

    @property
    def name(self) -> str:
        """Return the key of this gap in crypto.gaps."""
        return f"{self.market}/{self.symbol}/{self.stream}/{self.first_id}"

    @property
    def size(self) -> int:
        """Return how many ids are or were missing."""
        return self.last_id - self.first_id + 1


def has_dense_ids(market: str, stream: str) -> bool:
    """Return whether the ids have no holes of their own, so that a skipped id was lost.

    Single trades of USD-M and COIN-M leave out ids of fills outside the market
    (binance-public-data #378).
    """
    return stream == "aggTrade" or (stream == "trade" and market == "spot")


class StreamGaps:
    """The gaps of one stream in one state, sorted by their first id."""

    __slots__ = ("_first", "_gaps")

    def __init__(self, gaps: Iterable[Gap] = ()) -> None:
        self._gaps = list(gaps)  # sorted
        self._first = [gap.first_id for gap in self._gaps]

    def add(self, gap: Gap) -> None:
        """Insert a gap at its place."""
        at = bisect_left(self._first, gap.first_id)
        self._first.insert(at, gap.first_id)
        self._gaps.insert(at, gap)

    def remove(self, gap: Gap) -> None:
        """Remove a gap; nothing happens when it is not there."""
        at = bisect_left(self._first, gap.first_id)
        if at < len(self._gaps) and self._gaps[at] is gap:
            del self._first[at], self._gaps[at]

    def at(self, number: int) -> Gap | None:
        """Return the gap that contains an id, None when there is none."""
        at = bisect_right(self._first, number) - 1
        return self._gaps[at] if at >= 0 and number <= self._gaps[at].last_id else None

    def within(self, low: int, high: int) -> list[Gap]:
        """Return the gaps that contain an id of [low, high]."""
        start = max(0, bisect_right(self._first, low) - 1)
        candidates = self._gaps[start : bisect_right(self._first, high)]
        return [gap for gap in candidates if gap.last_id >= low]

    def __iter__(self) -> Iterator[Gap]:
        return iter(self._gaps)

    def __len__(self) -> int:
        return len(self._gaps)


class GapBook:
    """The gaps of one writer.

    `changed` holds the gaps to publish once the events that filled them were flushed.
    """

    def __init__(self) -> None:
        self._open: dict[tuple[str, str], StreamGaps] = {}
        self._unfillable: dict[tuple[str, str], StreamGaps] = {}
        self.changed: dict[str, Gap] = {}
        self.new_gaps: list[Gap] = []  # opened, and not yet given to the gap filler
        self.filled_ids = 0

    def restore(self, values: Iterable[dict[str, Any]], market: str) -> None:
        """Load the gaps of a market from the values of crypto.gaps.

        A writer that was killed while it published the pieces of a gap leaves the old gap
        overlapping the new ones; the old one is cut there.
        """
        by_stream: dict[tuple[str, str], list[Gap]] = {}
        for value in values:
            if value["market"] == market:
                by_stream.setdefault((value["symbol"], value["stream"]), []).append(msgspec.convert(value, Gap))
        for key, gaps in by_stream.items():
            gaps.sort(key=attrgetter("first_id"))
            for earlier, gap in pairwise(gaps):
                if earlier.last_id >= gap.first_id:
                    earlier.last_id = gap.first_id - 1
                    self.changed[earlier.name] = earlier
            self._open[key] = StreamGaps(gap for gap in gaps if gap.state == OPEN)
            self._unfillable[key] = StreamGaps(gap for gap in gaps if gap.state == UNFILLABLE)
            self.new_gaps += self._open[key]

    def unrecorded_holes(self, ledger: StreamLedger) -> list[tuple[int, int]]:
        """Return the holes without a gap. A writer that was killed leaves such holes."""
        return self._unrecorded(ledger, ledger.holes())

    def _unrecorded(self, ledger: StreamLedger, holes: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
        recorded = IntervalSet((gap.first_id, gap.last_id) for gap in self.recorded(ledger))
        return [part for low, high in holes for part in recorded.missing(low, high)]

    def recorded(self, ledger: StreamLedger) -> list[Gap]:
        """Return the gaps of one stream that are open or unfillable."""
        return [*self.open_of(ledger), *self.unfillable_of(ledger)]

    def _add_open(self, gap: Gap) -> None:
        _gaps_of_stream(self._open, gap).add(gap)
        self.new_gaps.append(gap)

    def open(
        self, ledger: StreamLedger, holes: Iterable[tuple[int, int]], now_us: int, reason: str, source: str
    ) -> int:
        """Open a gap for each hole of a stream whose ids are dense; return how many were opened."""
        if not has_dense_ids(ledger.market, ledger.stream):
            return 0
        opened = 0
        for low, high in holes:
            gap = Gap(
                ledger.market, ledger.symbol, ledger.stream, low, high, OPEN, now_us, reason=reason, source=source
            )
            self._add_open(gap)
            self.changed[gap.name] = gap
            opened += 1
        return opened

    def open_of(self, ledger: StreamLedger) -> list[Gap]:
        """Return the open gaps of one stream, sorted by id."""
        return list(self._open.get((ledger.symbol, ledger.stream), ()))

    def unfillable_of(self, ledger: StreamLedger) -> list[Gap]:
        """Return the unfillable gaps of one stream."""
        return list(self._unfillable.get((ledger.symbol, ledger.stream), ()))

    def within(self, ledger: StreamLedger, low: int, high: int) -> list[Gap]:
        """Return the open gaps of one stream that contain an id of [low, high]."""
        gaps = self._open.get((ledger.symbol, ledger.stream))
        return gaps.within(low, high) if gaps else []

    def open_gaps(self) -> list[Gap]:
        """Return every open gap."""
        return [gap for gaps in self._open.values() for gap in gaps]

    def take_new(self) -> list[Gap]:
        """Return the open gaps that were not taken yet."""
        taken, self.new_gaps = self.new_gaps, []
        return [gap for gap in taken if gap.state == OPEN]

    def close_gap_at(self, ledger: StreamLedger, number: int, now_us: int) -> None:
        """Close the gap of an id that came late, when nothing of it is missing any more."""
        gaps = self._open.get((ledger.symbol, ledger.stream))
        gap = gaps.at(number) if gaps else None
        if gap is not None:
            self.close_if_complete(gap, ledger, now_us)

    def close_if_complete(self, gap: Gap, ledger: StreamLedger, now_us: int) -> bool:
        """Close a gap as filled when none of its ids is missing; return whether it was closed."""
        if ledger.is_missing(gap.first_id, gap.last_id):
            return False
        self._of_state(gap).remove(gap)
        self.changed.pop(gap.name, None)
        self._set_state(gap, FILLED, now_us, gap.reason)
        return True

    def shrink(self, ledger: StreamLedger, now_us: int) -> None:
        """Close the part of each gap of a stream that is no longer missing.

        It closes parts of unfillable gaps too.
        """
        # Starting at the end of the lists, a removal shifts no other gap.
        for gap in reversed(self.recorded(ledger)):
            if self.close_if_complete(gap, ledger, now_us):
                continue
            missing = ledger.missing(gap.first_id, gap.last_id)
            if missing != [(gap.first_id, gap.last_id)]:
                present = IntervalSet(missing).missing(gap.first_id, gap.last_id)
                pieces = [(low, high, gap.state) for low, high in missing]
                self._replace(gap, pieces + [(low, high, FILLED) for low, high in present], now_us, gap.reason)

    def compare_files(self, ledger: StreamLedger, now_us: int, source: str) -> list[tuple[int, int]]:
        """Update the gaps of a stream after a file was read to its end, and return the holes.

        Ids are missing between the first and the last one that any file delivered, so the order of
        the files does not matter. Ids from live streams and backfills are not missing. The range
        between the files and a live stream is no gap, because it was never requested.

        Returns:
            The holes within the file, and holes between files that had no gap yet.
        """
        if ledger.is_tick or not has_dense_ids(ledger.market, ledger.stream):
            return []
        self.shrink(ledger, now_us)
        own = ledger.delivered()  # a rejected row may name any id
        within = ledger.missing(own[0][0], own[-1][1]) if own else []
        self.open(ledger, self._unrecorded(ledger, within), now_us, "not in the file", source)
        span = ledger.replayed_span()
        is_same = bool(own) and span == (own[0][0], own[-1][1])
        between = self._unrecorded(ledger, within if is_same or not span else ledger.missing(*span))
        self.open(ledger, between, now_us, "between files", source)
        return sorted([*within, *between])

    def declare_unfillable(self, ledger: StreamLedger, low: int, high: int, *, now_us: int, reason: str) -> int:
        """Close as unfillable the ids of [low, high] in open gaps; return their number."""
        ids = 0
        for gap in self.within(ledger, low, high):
            first, last = max(low, gap.first_id), min(high, gap.last_id)
            self.mark_unfillable(gap, first, last, now_us=now_us, reason=reason)
            ids += last - first + 1
        return ids

    def mark_unfillable(self, gap: Gap, low: int, high: int, *, now_us: int, reason: str) -> None:
        """Close as unfillable the ids [low, high] of a gap.

        The ids before and after them become gaps of their own.
        """
        pieces = [(gap.first_id, low - 1, OPEN), (low, high, UNFILLABLE), (high + 1, gap.last_id, OPEN)]
        self._replace(gap, [piece for piece in pieces if piece[0] <= piece[1]], now_us, reason)

    def _replace(self, gap: Gap, pieces: list[Piece], now_us: int, reason: str) -> None:
        """Replace a gap by pieces, the first of which keeps its key.

        The pieces are published from the last to the first. So a writer that is killed in between
        leaves the whole gap and its last pieces, and every missing id stays in a gap. `restore`
        repairs the overlap.
        """
        first, *rest = sorted(pieces)
        self._of_state(gap).remove(gap)
        for low, high, state in reversed(rest):
            piece = msgspec.structs.replace(gap, first_id=low, last_id=high)
            self._set_state(piece, state, now_us, reason)
            if state == OPEN:
                self.new_gaps.append(piece)
        gap.last_id = first[1]
        self.changed.pop(gap.name, None)
        self._set_state(gap, first[2], now_us, reason)

    def _set_state(self, gap: Gap, state: str, now_us: int, reason: str) -> None:
        if state != gap.state:
            gap.state, gap.reason, gap.closed_at_us = state, reason, now_us
        if state == FILLED:
            gap.filled_ids = gap.size
            self.filled_ids += gap.size
        else:
            self._of_state(gap).add(gap)
        self.changed[gap.name] = gap

    def _of_state(self, gap: Gap) -> StreamGaps:
        return _gaps_of_stream(self._open if gap.state == OPEN else self._unfillable, gap)

    def take_changed(self) -> list[Gap]:
        """Return the gaps to publish, each in its latest state, and forget them."""
        changed, self.changed = list(self.changed.values()), {}
        return changed


def _gaps_of_stream(gaps: dict[tuple[str, str], StreamGaps], gap: Gap) -> StreamGaps:
    key = gap.symbol, gap.stream
    if key not in gaps:
        gaps[key] = StreamGaps()
    return gaps[key]
