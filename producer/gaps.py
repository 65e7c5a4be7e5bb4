"""Which ids are missing, and what became of each range: decisions only, published by the caller."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from producer.ledger import Gap, StreamLedger, has_dense_ids, split_unserved


class GapBook:
    """The gaps of one writer; `changed` holds those to publish once what they say has been flushed."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, str], list[Gap]] = {}
        self.changed: dict[str, Gap] = {}
        self.fresh: list[Gap] = []  # opened, and not yet given to whoever fills them
        self.filled_ids = 0

    def restore(self, values: Iterable[dict[str, Any]], market: str) -> list[Gap]:
        """Take over what crypto.gaps says of a market; returns the gaps that are not open any more."""
        closed = []
        for value in values:
            gap = msgspec.convert(value, Gap)
            if gap.market != market:
                continue
            if gap.state == "open":
                self._add(gap)
            else:
                closed.append(gap)
        return closed

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

    def give_up(self, gap: Gap, first_served: int, now_us: int, reason: str) -> Gap | None:
        """Close as unfillable the part before `first_served`; returns the rest as a new open gap, None when none is."""
        parts = split_unserved(gap, first_served, now_us, reason)
        gap.last_id = parts[0].last_id
        self._close(gap, "unfillable", now_us, reason)
        if len(parts) == 1:
            return None
        rest = parts[1]
        self._open[gap.symbol, gap.stream].append(rest)
        self.changed[rest.name] = rest
        return rest

    def take_changed(self) -> list[Gap]:
        """Return the gaps to publish, each in its latest state."""
        changed, self.changed = list(self.changed.values()), {}
        return changed
