"""Find the events that retention removed. They count as expired, not as faults.

Events are removed on purpose in two ways, and each leaves a record that outlives them:

- Kafka removes the oldest records of a partition, and its first offset moves up. An id has expired
  there when the ledger records it as seen, its partition begins after offset 0, and the topic no
  longer has it.
- Retention removes parts of a store. Before that it writes to `audit.removals` the times of the
  events, and the moment by which they had arrived. An event that arrived later must be in the
  store, even if its time is in the removed range.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from common.kafka_partitions import partition_of
from tickhouse.checks.reconcile import ranges
from tickhouse.checks.reconcile.kafka import Ends
from tickhouse.checks.reconcile.model import CheckedStream, kafka_key
from tickhouse.checks.reconcile.ranges import Range
from tickhouse.checks.reconcile.trade_comparison import ExpectedTrades, Row

Identity = tuple[CheckedStream, int]
FindExpired = Callable[[CheckedStream, list[int]], set[int]]
# The names in `audit.removals` of the stores that have another name in the report.
_NAME_IN_REMOVALS = {"postgres": "candles", "mongodb-raw": "mongodb"}


@dataclass(frozen=True)
class Removal:
    """Events of [from_us, until_us) that were removed from a store.

    `late_offsets` are the first offsets of `crypto.trades`, by partition, that arrived after the
    removal was planned.
    """

    store: str
    from_us: int
    until_us: int
    late_offsets: Mapping[int, int] = field(default_factory=dict)

    def may_cover(self, time_us: int) -> bool:
        """Return whether an event of this time was removed, if it arrived before the removal."""
        return self.from_us <= time_us < self.until_us


@dataclass(frozen=True)
class Removed:
    """A row of `audit.removals`."""

    store: str
    from_us: int
    until_us: int
    arrived_before_ms: int

    def with_offsets(self, late_offsets: Mapping[int, int]) -> Removal:
        """Return the removal with the offsets at which later arrivals begin."""
        return Removal(self.store, self.from_us, self.until_us, late_offsets)


class Expired:
    """Finds what has expired, by store.

    Args:
        ends: First and next offset of each partition of `crypto.trades`.
        seen: Ids that the ledger records as seen, merged ranges by stream.
        removals: What retention removed.
        enriched_begins: First event of each partition of the enriched topic from which Kafka has
            removed records. Both topics have the same order, so every event before it in
            `crypto.trades` has expired from the enriched topic.
    """

    def __init__(
        self,
        ends: Ends | None = None,
        seen: Mapping[CheckedStream, list[Range]] | None = None,
        removals: Iterable[Removal] = (),
        enriched_begins: Mapping[int, Identity] | None = None,
    ) -> None:
        self._ends, self._seen, self._removals = ends or {}, seen or {}, tuple(removals)
        self._late: list[set[Identity]] = [set() for _ in self._removals]
        self._enriched_begins = dict(enriched_begins or {})
        self._before_enriched: dict[int, set[Identity]] = {partition: set() for partition in self._enriched_begins}
        self._cut_from_enriched: set[Identity] = set()
        # There is one removal per day of bronze, and almost every row of the log is newer than all
        # of them: one search in the merged times excludes such a row.
        self._removed_times = ranges.merged((one.from_us, one.until_us - 1) for one in self._removals)

    @property
    def begins(self) -> dict[int, int]:
        """Return the first offset that each partition of the log still has."""
        return {partition: low for partition, (low, _) in self._ends.items()}

    def watch(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Yield the rows of Kafka, and note those that arrived after a removal of their time."""
        for row in rows:
            if ranges.contains(self._removed_times, row.trade.time_us):
                self._note_late(row)
            if row.place[1] in self._enriched_begins:
                self._note_before_enriched(row)
            yield row

    def _note_before_enriched(self, row: Row) -> None:
        partition, identity = row.place[1], (row.trade.key, row.trade.trade_id)
        if identity == self._enriched_begins[partition]:
            self._cut_from_enriched |= self._before_enriched[partition]
            del self._enriched_begins[partition]
        else:
            self._before_enriched[partition].add(identity)

    def _note_late(self, row: Row) -> None:
        _, partition, offset = row.place
        for removal, late in zip(self._removals, self._late, strict=True):
            if removal.may_cover(row.trade.time_us) and offset >= removal.late_offsets.get(partition, offset + 1):
                late.add((row.trade.key, row.trade.trade_id))

    def from_log(self, key: CheckedStream, present: list[Range]) -> list[Range]:
        """Return the ids of a stream that Kafka had and has removed.

        Args:
            key: The stream.
            present: Its ids that the log or the dead letters have, merged.
        """
        return ranges.subtract(self._seen.get(key, []), present) if self._is_cut(key) else []

    def streams(self) -> Iterable[CheckedStream]:
        """Return the streams from which Kafka has removed records."""
        return [key for key in self._seen if self._is_cut(key)]

    def _is_cut(self, key: CheckedStream) -> bool:
        partition = partition_of(kafka_key(key).encode(), len(self._ends)) if self._ends else -1
        return self.begins.get(partition, 0) > 0

    def in_log(self, key: CheckedStream, missing: list[int]) -> set[int]:
        """Return the missing ids that Kafka had and has removed."""
        seen = self._seen.get(key, [])
        return {number for number in missing if ranges.contains(seen, number)} if self._is_cut(key) else set()

    def in_enriched(self, copies: Mapping[CheckedStream, Mapping[int, int]]) -> FindExpired:
        """Return a function that finds the ids that Kafka removed from the topic of enriched
        trades.

        Args:
            copies: The ids that `crypto.trades` has.
        """

        def find(key: CheckedStream, missing: list[int]) -> set[int]:
            present = copies.get(key, {})
            cut = {number for number in missing if (key, number) in self._cut_from_enriched}
            return cut | self.in_log(key, [number for number in missing if number not in present])

        return find

    def in_store(self, store: str, expected: ExpectedTrades) -> FindExpired:
        """Return a function that finds the ids that retention removed among those that a store
        lacks.
        """
        removals = self._removals_of(store)

        def find(key: CheckedStream, missing: list[int]) -> set[int]:
            trades = expected.trades.get(key, {})
            return {
                number
                for number in missing
                if any(each.may_cover(trades[number].time_us) and (key, number) not in late for each, late in removals)
            }

        return find

    def has_minute(self, store: str, minute_us: int) -> bool:
        """Return whether retention removed events of a minute from a store."""
        return any(removal.may_cover(minute_us) for removal, _ in self._removals_of(store))

    def _removals_of(self, store: str) -> list[tuple[Removal, set[Identity]]]:
        recorded = _NAME_IN_REMOVALS.get(store, store)
        return [one for one in zip(self._removals, self._late, strict=True) if one[0].store == recorded]
