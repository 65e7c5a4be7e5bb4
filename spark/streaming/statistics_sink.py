"""Keep the rolling 24-hour statistics of each stream in Geode, from the bars of `crypto.candles`.

Delivery guarantee: exactly once per bar. A bar of `crypto.candles` is whole: it holds all trades of
its minute so far, and its record replaces the one before. So each write is an upsert by the minute,
and a batch may come again, with other limits or late. The records of a bar are in one partition, in
the order in which the bar grew.

One batch writes in this order. After a crash between two steps the batch comes again, and repeats
all of them:

1. The minutes of the batch that are in the window.
2. The removal of the minutes that left the window.
3. The statistics, computed from all minutes of the window.

The lease of the checkpoints keeps a second driver away (spark/checkpoints/driver_lease.py), so the
minutes in memory are those of the store.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

import structlog

from common.clients.avro import AvroDecoder, Undecodable
from common.clients.geode import MINUTES, STATISTICS, Geode
from common.clients.statistics import minute_key, parse_minute_key, statistics_key
from common.event_ids import StreamName
from spark.streaming.statistics import StatisticsBar, Window, bar_of, statistics

log = structlog.get_logger("spark.streaming.statistics_sink")

# Windows that are kept in memory, each of at most 1,440 bars: about 0.7 MB.
MOST_WINDOWS = 128

Bars = Mapping[StreamName, list[StatisticsBar]]


def newest_bars(values: Iterable[bytes | None], decoder: AvroDecoder) -> Bars:
    """Return the bars of a batch by stream; of several versions of a bar, the last one.

    A value that does not decode is left out and logged. Nobody but query `candles` writes to the
    topic, and `tickhouse reconcile` shows the bar that is missing.

    Raises:
        StoreUnavailable: The registry does not answer.
    """
    found: dict[StreamName, dict[int, StatisticsBar]] = {}
    for value in values:
        try:
            stream, bar = bar_of(decoder.decode(value))
        except Undecodable as error:
            log.error("candle_undecodable", reason=error.reason, detail=error.detail)
            continue
        found.setdefault(stream, {})[bar.minute_us] = bar
    return {stream: [*by_minute.values()] for stream, by_minute in found.items()}


class StatisticsStore:
    """The statistics of all streams in Geode; windows that were used lately are in memory.

    Args:
        geode: A client that may write both regions.
    """

    def __init__(self, geode: Geode) -> None:
        self._geode = geode
        self._windows: OrderedDict[StreamName, Window] = OrderedDict()
        # The minutes that Geode has of the streams that are not in memory; None before they were
        # listed.
        self._stored: dict[StreamName, list[int]] | None = None

    def apply(self, bars: Bars) -> None:
        """Add the bars of a batch to the windows of their streams, and write what changed.

        Raises:
            StoreUnavailable: Geode does not answer; the batch may be applied again.
        """
        try:
            stored = self._list_minutes() if self._stored is None else self._stored
            self._write(bars, stored)
        except BaseException:
            self._windows.clear()  # they may hold what was not stored
            self._stored = None
            raise
        while len(self._windows) > MOST_WINDOWS:
            stream, window = self._windows.popitem(last=False)
            stored[stream] = [*window.bars]
        self._stored = stored

    def _list_minutes(self) -> dict[StreamName, list[int]]:
        found: dict[StreamName, list[int]] = {}
        for parsed in map(parse_minute_key, self._geode.keys(MINUTES)):
            if parsed is not None:
                found.setdefault(parsed[0], []).append(parsed[1])
        return found

    def _write(self, bars: Bars, stored: dict[StreamName, list[int]]) -> None:
        changed: dict[str, dict[str, Any]] = {}
        left: list[str] = []
        for stream, given in bars.items():
            of_stream, minutes = self._window(stream, stored).merge(given)
            changed |= {minute_key(stream, bar.minute_us): bar.to_entry(stream) for bar in of_stream}
            left += [minute_key(stream, minute) for minute in minutes]
        self._geode.put_all(MINUTES, changed)
        self._geode.delete(MINUTES, left)
        summaries = {statistics_key(stream): statistics(stream, self._windows[stream].bars.values()) for stream in bars}
        self._geode.put_all(STATISTICS, summaries)

    def _window(self, stream: StreamName, stored: dict[StreamName, list[int]]) -> Window:
        """Return a stream's window; if it is not in memory it is read from Geode."""
        if stream not in self._windows:
            keys = [minute_key(stream, minute) for minute in stored.pop(stream, ())]
            entries = self._geode.get_all(MINUTES, keys)
            self._windows[stream] = Window(StatisticsBar.from_entry(value) for value in entries.values())
        self._windows.move_to_end(stream)
        return self._windows[stream]
