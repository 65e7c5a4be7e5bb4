"""Write one point per trade to InfluxDB, and recompute the roll-ups of late trades.

Delivery guarantee: exactly once. A point's series and time are a function of the trade, so a repeat
replaces a point with itself. Two different trades with the same series and time are numbered in
the order of their arrival; the store is asked for the numbers that it has given (`SeriesClashes`).

The order within a batch:

1. Ask the store for points that the batch might clash with: only times at or before the newest time
   that the store has of a stream.
2. Mark the days of the batch as written now. Retention removes a day only when nothing was written
   to it for long.
3. Write the points. The server has them on its disk when it answers. Those that it refuses because
   of their content are returned, and become dead letters.
4. Recompute the roll-ups of the trades that the tasks of the server no longer see.

After a failure the whole batch comes again, with the same result.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from common.clients import influxdb
from common.errors import ConfigurationError, StoreUnavailable
from common.settings import Settings
from spark.streaming.partial_sums import SymbolStream
from spark.streaming.series_points import (
    LAST_NS,
    MOST_ALIKE,
    TIME_OUT_OF_RANGE,
    TOO_MANY_ALIKE,
    Point,
    PointIdentity,
    SeriesClashes,
    clusters,
    escape_tag,
)

if TYPE_CHECKING:
    from influxdb_client import InfluxDBClient

# Lines of one request; InfluxDB's advice is 5,000 to 10,000.
LINES = 10_000
DAY_US = 86_400_000_000
HOUR_US = 3_600_000_000
NS = 1000
# The day of a batch is marked again when its mark is older than this.
MARK_EVERY_S = 3600.0
# A trade that is older than this when it was written is late. The tasks of the server look back
# twice as long, so each trade is seen by one of the two (stack/influxdb/tasks).
LATE_US = 15_000_000
# A question to the store for one range of time without large gaps; the most ranges of one stream.
MOST_GAP_US, MOST_RANGES = HOUR_US, 20
REFUSED = "refused_by_influxdb"


class RollUp(NamedTuple):
    """A task of the server: its name, which is also its bucket's, and the width of its windows."""

    name: str
    width_us: int


ROLL_UPS = (RollUp(influxdb.SECONDS, 1_000_000), RollUp(influxdb.MINUTES, 60_000_000))


class RefusedPoint(NamedTuple):
    """A trade that cannot be stored, and why."""

    point: Point
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class SeriesWritten:
    """The result of a batch.

    Attributes:
        points: Points that the store has now.
        clashes: New points that share series and time with another trade.
        refused: Trades that the store cannot hold.
    """

    points: int
    clashes: int
    refused: tuple[RefusedPoint, ...]


class SeriesStore:
    """Writes batches of points.

    Args:
        settings: Address and token.
        now_us: Returns the time in microseconds.
    """

    def __init__(self, settings: Settings, now_us: Callable[[], int] = lambda: time.time_ns() // 1000) -> None:
        self._settings, self._now_us = settings, now_us
        self._client: InfluxDBClient | None = None
        # The newest time that the store has of each stream, in µs, as far as this process knows.
        self._newest: dict[SymbolStream, int] = {}
        self._marked: dict[int, int] = {}
        self._kept_us: dict[str, int] = {}

    def write(self, points: Sequence[Point]) -> SeriesWritten:
        """Write the points of a batch, given in the order of their arrival.

        Raises:
            StoreUnavailable: The server does not answer; the whole batch is to be written again.
        """
        try:
            return self._write_batch(points)
        except StoreUnavailable:
            self.close()  # the next try reads the token again: the server may have been made anew
            raise

    def _write_batch(self, points: Sequence[Point]) -> SeriesWritten:
        fitting = [point for point in points if point.time_ns <= LAST_NS]
        beyond = [point for point in points if point.time_ns > LAST_NS]
        refused = [RefusedPoint(point, TIME_OUT_OF_RANGE, f"{point.time_us} microseconds") for point in beyond]
        clashes = SeriesClashes(self._held(fitting))
        lines: list[tuple[Point, str]] = []
        for point in fitting:
            number = clashes.number(point)
            if number < MOST_ALIKE:
                lines.append((point, point.line(number)))
            else:
                refused.append(RefusedPoint(point, TOO_MANY_ALIKE, f"{number} others have its series and time"))
        self._mark_days({point.time_us // DAY_US for point, _ in lines})
        for at in range(0, len(lines), LINES):
            refused += self._write(lines[at : at + LINES])
        self._note_newest(fitting)
        self._roll_up_late([point.time_us for point, _ in lines])
        return SeriesWritten(len(points) - len(refused), clashes.count, tuple(refused))

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _connection(self) -> InfluxDBClient:
        if self._client is None:
            if not influxdb.is_set_up(self._settings):
                raise StoreUnavailable("InfluxDB has no token for the stream yet.", next_command="tickhouse status")
            self._client = influxdb.open_client(self._settings, "writer")
        return self._client

    # -- points that are alike ---------------------------------------------------------------------

    def _held(self, points: Iterable[Point]) -> dict[PointIdentity, dict[int, int]]:
        """Return the numbers of the points that the store holds near those of a batch."""
        times: dict[SymbolStream, list[int]] = {}
        for point in points:
            times.setdefault(point.key, []).append(point.time_us)
        held: dict[PointIdentity, dict[int, int]] = {}
        for stream, of_stream in times.items():
            newest = self._newest_of(stream)
            for first, last in clusters([at for at in of_stream if at <= newest], MOST_GAP_US, MOST_RANGES):
                for identity, trade_id, number in self._numbers(stream, first, last):
                    held.setdefault(identity, {})[trade_id] = number
        return held

    def _newest_of(self, stream: SymbolStream) -> int:
        if stream not in self._newest:
            query = f'{_ids(stream, 0, LAST_NS // NS)} |> last() |> group() |> max(column: "_time")'
            rows = [*influxdb.rows_of(self._connection(), f"{query} |> map(fn: (r) => ({{at: int(v: r._time)}}))")]
            self._newest[stream] = max((int(row["at"]) // NS for row in rows), default=-1)
        return self._newest[stream]

    def _numbers(self, stream: SymbolStream, first_us: int, last_us: int) -> Iterable[tuple[PointIdentity, int, int]]:
        query = _ids(stream, first_us, last_us + 1) + " |> map(fn: (r) => ({r with at: int(v: r._time)}))"
        for row in influxdb.rows_of(self._connection(), query):
            names = ("exchange", "market", "side", "stream", "symbol")
            tags = ",".join((influxdb.MEASUREMENT, *(f"{name}={escape_tag(row[name])}" for name in names)))
            yield PointIdentity(tags, int(row["at"])), int(row["_value"]), int(row.get("clash") or 0)

    def _note_newest(self, points: Iterable[Point]) -> None:
        for point in points:
            self._newest[point.key] = max(self._newest.get(point.key, -1), point.time_us)

    # -- writing -----------------------------------------------------------------------------------

    def _mark_days(self, days: Iterable[int]) -> None:
        now = self._now_us()
        due = [day for day in days if now - self._marked.get(day, 0) > MARK_EVERY_S * 1e6]
        if due:
            lines = [f"{influxdb.DAY_MEASUREMENT} written_us={now}i {day * DAY_US * NS}" for day in sorted(due)]
            with influxdb.errors():
                self._send(influxdb.DAYS, lines)
        self._marked |= dict.fromkeys(due, now)

    def _write(self, lines: Sequence[tuple[Point, str]]) -> list[RefusedPoint]:
        """Write lines; where the server refuses some because of their content, find out which."""
        try:
            with influxdb.errors():
                self._send(influxdb.TRADES, [line for _, line in lines])
        except ConfigurationError as error:
            if len(lines) == 1:
                return [RefusedPoint(lines[0][0], REFUSED, error.message)]
            half = len(lines) // 2
            return self._write(lines[:half]) + self._write(lines[half:])
        return []

    def _send(self, bucket: str, lines: Sequence[str]) -> None:
        from influxdb_client.client.write_api import SYNCHRONOUS

        body = "\n".join(lines).encode()
        with self._connection().write_api(write_options=SYNCHRONOUS) as api:
            api.write(bucket, record=body, write_precision="ns")

    # -- roll-ups ----------------------------------------------------------------------------------

    def _roll_up_late(self, times: Iterable[int]) -> None:
        """Recompute the windows of the trades that the tasks of the server no longer see."""
        now = self._now_us()
        late = clusters([at for at in times if at < now - LATE_US], MOST_GAP_US, MOST_RANGES)
        for roll_up in ROLL_UPS:
            oldest = now - self._kept(roll_up.name) if late and self._kept(roll_up.name) else 0
            for start, stop in windows(late, roll_up.width_us, oldest):
                query = influxdb.late_roll_up(roll_up.name, start * NS, stop * NS)
                for _ in influxdb.rows_of(self._connection(), query):
                    pass

    def _kept(self, bucket: str) -> int:
        """Return for how long the server keeps a bucket's points, in µs; 0 is for ever."""
        if bucket not in self._kept_us:
            with influxdb.errors():
                found = self._connection().buckets_api().find_bucket_by_name(bucket)
            rules = found.retention_rules if found is not None else []
            # The server refuses a point that is a moment too old, so an hour is left out.
            self._kept_us[bucket] = max((rule.every_seconds * 10**6 - HOUR_US for rule in rules), default=0)
        return self._kept_us[bucket]


def windows(ranges: Iterable[tuple[int, int]], width_us: int, oldest_us: int) -> list[tuple[int, int]]:
    """Return the whole windows that hold some inclusive ranges, as [start, stop), without overlap.

    Args:
        ranges: Sorted ranges of times.
        width_us: Width of a window.
        oldest_us: Windows that begin before this are left out.
    """
    first = -(-max(0, oldest_us) // width_us) * width_us
    found: list[tuple[int, int]] = []
    for low, high in ranges:
        start, stop = max(first, low // width_us * width_us), (high // width_us + 1) * width_us
        if found and start < found[-1][1]:
            start = found[-1][1]
        if start < stop:
            found.append((start, stop))
    return found


def _ids(stream: SymbolStream, start_us: int, stop_us: int) -> str:
    """Return Flux for the ids of a stream's points of [start, stop)."""
    tags = {"market": stream.market, "symbol": stream.symbol, "stream": stream.stream}
    chosen = " and ".join(f"r.{name} == {influxdb.flux_text(value)}" for name, value in tags.items())
    return (
        f'from(bucket: "{influxdb.TRADES}")'
        f" |> range(start: {influxdb.flux_time(start_us * NS)}, stop: {influxdb.flux_time(stop_us * NS)})"
        f' |> filter(fn: (r) => r._measurement == "{influxdb.MEASUREMENT}" and r._field == "trade_id" and {chosen})'
    )


def written_text(written: SeriesWritten) -> Mapping[str, int]:
    """Return the figures of a batch for the log."""
    return {"points": written.points, "clashes": written.clashes, "refused": len(written.refused)}


def points_of(table: pa.Table) -> list[Point]:
    """Return the rows of `series_points.POINT_ARROW` as points, in the order of their arrival."""
    points = [Point(*row) for row in zip(*(column.to_pylist() for column in table.columns), strict=True)]
    return sorted(points, key=lambda point: (point.partition, point.offset))
