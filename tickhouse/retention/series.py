"""Retention of InfluxDB: remove days of points that were written long ago.

The server's own retention counts from the time of the event, so it would refuse an old file that is
replayed today. So the server keeps points for ever, and days are removed here. The streaming query
marks each day that it writes to in the bucket `trades_days`, before it writes (ADR 0029).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from common.clients import influxdb
from common.settings import Settings
from tickhouse.retention.declaration import SeriesKept
from tickhouse.retention.policy import EPOCH, Covers, Step, StorePlan, days_text, store_plan

_DAY = timedelta(days=1)
# The streaming query renews the mark of a day once per hour.
_MARK_AGE = timedelta(hours=1)


@dataclass(frozen=True)
class SeriesDays:
    """Retention of the points in full resolution."""

    settings: Settings
    kept: SeriesKept
    store: str = "influxdb"

    @property
    def declared(self) -> str:
        """Return in words how long points are kept."""
        own = f"seconds {days_text(self.kept.seconds_days)}, minutes {days_text(self.kept.minutes_days)}"
        return f"a day of points, {days_text(self.kept.days)} after its end and the last write to it; roll-ups: {own}"

    def plan(self, now: datetime) -> StorePlan:
        """Return the days to remove.

        Raises:
            StoreUnavailable: InfluxDB does not answer.
        """
        return store_plan(self, due(self._written(), self.kept.days, now))

    def do(self, step: Step, now: datetime) -> None:
        """Remove one day, unless something was written to it since the plan was made.

        Raises:
            StoreUnavailable: InfluxDB does not answer.
        """
        day = datetime.fromisoformat(step.item)
        if step.item not in {one.item for one in due(self._written(), self.kept.days, now)}:
            return
        with influxdb.connected(self.settings, "writer") as client:
            for bucket in (influxdb.TRADES, influxdb.DAYS):  # the mark last: a run that dies is repeated
                stop = f"{day:%Y-%m-%d}T23:59:59.999999999Z"  # inclusive
                client.delete_api().delete(day, stop, "", bucket=bucket, org=self.settings.influxdb_org)

    def _written(self) -> dict[datetime, datetime]:
        """Return when each day was last written to."""
        query = (
            f'from(bucket: "{influxdb.DAYS}") |> range(start: 0, stop: {influxdb.flux_time(1 << 62)})'
            f' |> filter(fn: (r) => r._measurement == "{influxdb.DAY_MEASUREMENT}" and r._field == "written_us")'
            " |> map(fn: (r) => ({day: int(v: r._time), written_us: r._value}))"
        )
        with influxdb.connected(self.settings, "reader") as client:
            return {
                EPOCH + timedelta(microseconds=int(row["day"]) // 1000): EPOCH
                + timedelta(microseconds=int(row["written_us"]))
                for row in influxdb.rows_of(client, query)
            }


def due(written: Mapping[datetime, datetime], days: int, now: datetime) -> list[Step]:
    """Return the days to remove: older than `days`, with no write for as long (pure)."""
    horizon = now - timedelta(days=days)
    return [
        Step(
            "remove",
            day.isoformat(),
            f"last written to {at:%Y-%m-%d}",
            covers=Covers(day, day + _DAY, now),
        )
        for day, at in sorted(written.items())
        if max(at + _MARK_AGE, day + _DAY) < horizon
    ]
