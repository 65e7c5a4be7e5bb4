"""Monthly partitions of `market.candles_1m`: create new ones, drop old ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from common.errors import StoreUnavailable
from tickhouse.retention.declaration import CandlesKept
from tickhouse.retention.policy import Covers, Step, StorePlan, days_text, store_plan

TABLE = "market.candles_1m"
_PREFIX = "candles_1m_"
# Readers of candles hold their locks for seconds. If one holds a lock longer, the next run retries.
LOCK_TIMEOUT_MS = 30_000

_PARTITIONS: LiteralString = """
SELECT c.relname, pg_total_relation_size(c.oid), greatest(c.reltuples, 0)::bigint
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = 'market.candles_1m'::regclass ORDER BY 1
"""
_DEFAULT_MONTHS: LiteralString = """
SELECT date_trunc('month', open_time AT TIME ZONE 'UTC')::date, count(*) FROM market.candles_1m_default GROUP BY 1
"""


@dataclass(frozen=True)
class CandlePartitions:
    """Retention of the candles.

    Args:
        dsn: PostgreSQL, as tickhouse_owner: only the owner may create and drop partitions.
        kept: The declaration.
    """

    dsn: str
    kept: CandlesKept
    store: str = "candles"

    @property
    def declared(self) -> str:
        """Return in words how long candles are kept."""
        return f"a month, {days_text(self.kept.days)} after its last write"

    def plan(self, now: datetime) -> StorePlan:
        """Return the partitions to create and to drop.

        Raises:
            StoreUnavailable: PostgreSQL does not answer.
        """
        with _connected(self.dsn) as connection:
            sizes = {name: (size, rows) for name, size, rows in connection.execute(_PARTITIONS)}
            months = {name: month for name in sorted(sizes) if (month := month_of(name))}
            waiting = dict(connection.execute(_DEFAULT_MONTHS).fetchall())
            old = {name: month for name, month in months.items() if self._may_be_old(month, now)}
            written = {name: _last_write(connection, name) for name in old}
        missing = self._missing_months({*months.values()}, waiting, now)
        steps = [self._make_step(month, waiting.get(month, 0)) for month in missing]
        for name, month in old.items():
            if (last := written[name]) is None or last < now - timedelta(days=self.kept.days):
                steps.append(self._drop_step(name, month, sizes[name], last, now))
        return store_plan(self, steps, bytes=sum(size for size, _ in sizes.values()))

    def _missing_months(self, months: set[date], waiting: dict[date, int], now: datetime) -> list[date]:
        ahead = [months_after(now.date(), number) for number in range(self.kept.months_ahead + 1)]
        wanted = sorted({*ahead, *waiting} - months)
        room = max(0, self.kept.most_partitions - len(months))
        return wanted[-room:] if room else []

    def _may_be_old(self, month: date, now: datetime) -> bool:
        return end_of(month) < now - timedelta(days=self.kept.days)

    def _make_step(self, month: date, rows: int) -> Step:
        why = f"{rows} bars of it are in the default partition" if rows else "it begins soon"
        return Step("make", partition_of(month), why, rows=rows)

    def _drop_step(self, name: str, month: date, size: tuple[int, int], last: datetime | None, now: datetime) -> Step:
        why = f"last written {last:%Y-%m-%d}" if last else "empty"
        start = datetime(month.year, month.month, 1, tzinfo=UTC)
        return Step("remove", name, why, *size, covers=Covers(start, end_of(month), now))

    def do(self, step: Step, now: datetime) -> None:
        """Create or drop one partition, in one transaction.

        Raises:
            StoreUnavailable: PostgreSQL does not answer, or the table is in use for too long.
        """
        month = month_of(step.item)
        with _connected(self.dsn) as connection:
            connection.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(LOCK_TIMEOUT_MS))
            if step.action == "make":
                connection.execute("SELECT market.make_candle_partition(%s)", [month])
            else:
                connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier("market", step.item)))


def _last_write(connection: psycopg.Connection[Any], partition: str) -> datetime | None:
    query = sql.SQL("SELECT max(updated_at) FROM {}").format(sql.Identifier("market", partition))
    row = connection.execute(query).fetchone()
    return row[0] if row else None


@contextmanager
def _connected(dsn: str) -> Iterator[psycopg.Connection[Any]]:
    try:
        with psycopg.connect(dsn, connect_timeout=10, application_name="tickhouse-retention") as connection:
            yield connection
    except psycopg.Error as error:
        raise StoreUnavailable(
            f"PostgreSQL refused a step of retention: {str(error).strip()}",
            safe="The candles are unchanged.",
            next_command="tickhouse retention plan",
        ) from error


def partition_of(month: date) -> str:
    """Return the name of a month's partition."""
    return f"{_PREFIX}{month:%Y_%m}"


def month_of(partition: str) -> date | None:
    """Return the month of a partition; None for the default one."""
    try:
        return datetime.strptime(partition.removeprefix(_PREFIX), "%Y_%m").date()
    except ValueError:
        return None


def months_after(day: date, months: int) -> date:
    """Return the first day of the month that is `months` after the month of `day`."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(year, month + 1, 1)


def end_of(month: date) -> datetime:
    """Return the end of a month, exclusive, in UTC."""
    after = months_after(month, 1)
    return datetime(after.year, after.month, 1, tzinfo=UTC)
