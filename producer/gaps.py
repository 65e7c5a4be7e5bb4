"""Which ids are missing, and what became of each range: decisions only, published by the caller."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from producer.intervals import IntervalSet
from producer.ledger import Gap, StreamLedger, has_dense_ids


class GapBook:
    """The gaps of one writer; `changed` holds those to publish once what they say has been flushed."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, str], list[Gap]] = {}
        self.changed: dict[str, Gap] = {}
        self.fresh: list[Gap] = []  # opened, and not yet given to whoever fills them
        self.filled_ids = 0
        self._lost: list[Gap] = []

    def restore(self, values: Iterable[dict[str, Any]], market: str) -> None:
        """Take over what crypto.gaps says of a market."""
        for value in values:
            gap = msgspec.convert(value, Gap)
            if gap.market != market:
                continue
            if gap.state == "open":
                self._add(gap)
            elif gap.state == "unfillable":
                self._lost.append(gap)

    def forgotten(self, ledger: StreamLedger) -> list[tuple[int, int]]:
        """Return the holes of a stream that no gap tells: a writer died before it could publish them."""
        told = IntervalSet()
        for gap in [*self.of(ledger), *self._lost]:
            if (gap.symbol, gap.stream) == (ledger.symbol, ledger.stream):
                told.add_range(gap.first_id, gap.last_id)
        return [hole for low, high in ledger.holes() for hole in told.missing(low, high)]

    def _add(self, gap: Gap) -> None:
        self._open.setdefault((gap.symbol, gap.stream), []).append(gap)
        self.fresh.append(gap)

    def open(
        self, ledger: StreamLedger, holes: Iterable[tuple[int, int]], now_us: int, reason: str, source: str
    ) -> int:
        """Open a gap for each hole of a stream whose ids are dense; returns how many."""
        if not has_dense_ids(ledger.market, ledger.stream):
            return 0
        opened = 0
        for low, high in holes:
            gap = Gap(
                ledger.market, ledger.symbol, ledger.stream, low, high, "open", now_us, reason=reason, source=source
            )
            self._add(gap)
            self.changed[gap.name] = gap
            opened += 1
        return opened

    def of(self, ledger: StreamLedger) -> list[Gap]:
        """Return the open gaps of one stream."""
        return self._open.get((ledger.symbol, ledger.stream), [])

    def open_gaps(self) -> list[Gap]:
        """Return every open gap."""
        return [gap for gaps in self._open.values() for gap in gaps]

    def take_fresh(self) -> list[Gap]:
        """Return the gaps that nobody was told of yet."""
        fresh, self.fresh = self.fresh, []
        return [gap for gap in fresh if gap.state == "open"]

    def note(self, ledger: StreamLedger, number: int, now_us: int) -> None:
        """See whether an id that came late closes a gap."""
        for gap in self.of(ledger):
            if gap.first_id <= number <= gap.last_id:
                self.settle(gap, ledger, now_us)
                return

    def settle(self, gap: Gap, ledger: StreamLedger, now_us: int) -> bool:
        """Close a gap when none of its ids is missing any more; returns whether it is closed."""
        ledger.settle()
        missing = [
            hole
            for low, high in ledger.own.missing(gap.first_id, gap.last_id)
            for hole in ledger.others.missing(low, high)
        ]
        if missing:
            return False
        self._close(gap, "filled", now_us, gap.reason)
        return True

    def _close(self, gap: Gap, state: str, now_us: int, reason: str) -> None:
        gap.state, gap.closed_at_us, gap.reason = state, now_us, reason
        if state == "filled":
            gap.filled_ids = gap.size
            self.filled_ids += gap.size
        self.changed[gap.name] = gap
        self._open[gap.symbol, gap.stream] = [other for other in self._open[gap.symbol, gap.stream] if other is not gap]

    def give_up(self, gap: Gap, low: int, high: int, *, now_us: int, reason: str) -> None:
        """Close as unfillable the ids [low, high] of a gap; what lies before and behind becomes gaps of their own."""
        before, after = (gap.first_id, low - 1), (high + 1, gap.last_id)
        if before[0] > before[1]:
            gap.last_id = high
            self._close(gap, "unfillable", now_us, reason)
        else:
            gap.last_id = before[1]
            self.changed[gap.name] = gap
            lost = msgspec.structs.replace(gap, first_id=low, last_id=high)
            self._open[gap.symbol, gap.stream].append(lost)
            self._close(lost, "unfillable", now_us, reason)
        if after[0] <= after[1]:
            rest = msgspec.structs.replace(
                gap, first_id=after[0], last_id=after[1], state="open", closed_at_us=None, reason="missed"
            )
            self._add(rest)
            self.changed[rest.name] = rest

    def take_changed(self) -> list[Gap]:
        """Return the gaps to publish, each in its latest state."""
        changed, self.changed = list(self.changed.values()), {}
        return changed
