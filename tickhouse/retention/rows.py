"""Retention by row: Cassandra's time to live, MongoDB's documents, PostgreSQL's redrives."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import LiteralString

import psycopg

from common.clients import cassandra, mongodb
from common.errors import StoreUnavailable
from common.settings import Settings
from tickhouse.retention.policy import EPOCH, Covers, Step, StorePlan, days_text, store_plan

_DAY_S = 86_400
_REDRIVES: LiteralString = "SELECT count(*) FROM audit.redrives WHERE state = 'sent' AND sent_at < %s"
_DELETE_REDRIVES: LiteralString = "DELETE FROM audit.redrives WHERE state = 'sent' AND sent_at < %s"


@dataclass(frozen=True)
class CassandraTtl:
    """Retention of Cassandra: each row has a time to live, and a day's SSTable is dropped whole.

    The time to live counts from the write and not from the event, so a replayed old trade stays as
    long as any other. A changed declaration applies to rows that are written afterwards.
    """

    settings: Settings
    days: int
    store: str = "cassandra"

    @property
    def declared(self) -> str:
        """Return in words how long a row is kept."""
        return f"a row, {days_text(self.days)} after its write (its time to live)"

    def plan(self, now: datetime) -> StorePlan:
        """Return a step to set the time to live, and one for the rows that have expired.

        Raises:
            StoreUnavailable: Cassandra does not answer.
        """
        declared_s, present_s = self.days * _DAY_S, cassandra.time_to_live_s(self.settings)
        steps = []
        if present_s != declared_s:
            steps.append(Step("set", "default_time_to_live", f"was {present_s} s, declared is {declared_s} s"))
        horizon = now - timedelta(days=self.days)
        covers = Covers(EPOCH, horizon, horizon)
        steps.append(
            Step("remove", cassandra.TRADES, f"rows written before {horizon:%Y-%m-%d} have expired", covers=covers)
        )
        return store_plan(self, steps, bytes=cassandra.size_bytes(self.settings))

    def do(self, step: Step, now: datetime) -> None:
        """Set the time to live; Cassandra removes expired rows itself.

        Raises:
            StoreUnavailable: Cassandra does not answer.
        """
        if step.action == "set":
            cassandra.set_time_to_live(self.settings, self.days * _DAY_S)


@dataclass(frozen=True)
class MongoDocuments:
    """Retention of MongoDB: documents of both collections by their arrival time.

    It does not use a TTL index, because compatible servers may not support one, and because
    reconcile must know of a removal before it happens.
    """

    settings: Settings
    days: int
    store: str = "mongodb"

    @property
    def declared(self) -> str:
        """Return in words how long a document is kept."""
        return f"a document, {days_text(self.days)} after its arrival"

    def plan(self, now: datetime) -> StorePlan:
        """Return a step if there are old documents.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        horizon = now - timedelta(days=self.days)
        steps = []
        if mongodb.has_arrived_before(self.settings, _micros(horizon)):
            why = f"arrived before {horizon:%Y-%m-%d %H:%M}"
            steps.append(Step("remove", "trades and trades_raw", why, covers=Covers(EPOCH, horizon, horizon)))
        return store_plan(self, steps, bytes=mongodb.size_bytes(self.settings))

    def do(self, step: Step, now: datetime) -> None:
        """Delete the old documents of both collections, a few at a time.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        if step.covers is not None:
            mongodb.delete_arrived_before(self.settings, _micros(step.covers.arrived_before))


def _micros(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)


@dataclass(frozen=True)
class RedriveRows:
    """Retention of `audit.redrives`: rows of dead letters that are no longer in their topic.

    Args:
        dsn: PostgreSQL, as tickhouse_owner.
        days: The declaration.
    """

    dsn: str
    days: int
    store: str = "redrives"

    @property
    def declared(self) -> str:
        """Return in words how long a row is kept."""
        return f"a row, {days_text(self.days)} after its letter was sent again"

    def plan(self, now: datetime) -> StorePlan:
        """Return a step if there are old rows.

        Raises:
            StoreUnavailable: PostgreSQL does not answer.
        """
        horizon = now - timedelta(days=self.days)
        rows = self._execute(_REDRIVES, horizon)
        item = horizon.isoformat()
        steps = [Step("remove", item, f"{rows} letters were sent before {horizon:%Y-%m-%d}", rows=rows)] if rows else []
        return store_plan(self, steps)

    def do(self, step: Step, now: datetime) -> None:
        """Delete the old rows.

        Raises:
            StoreUnavailable: PostgreSQL does not answer.
        """
        self._execute(_DELETE_REDRIVES, datetime.fromisoformat(step.item))

    def _execute(self, query: LiteralString, horizon: datetime) -> int:
        try:
            with psycopg.connect(self.dsn, connect_timeout=10) as connection:
                cursor = connection.execute(query, [horizon])
                row = cursor.fetchone() if cursor.description else (cursor.rowcount,)
                return int(row[0]) if row else 0
        except psycopg.Error as error:
            raise StoreUnavailable(
                f"PostgreSQL does not answer: {str(error).strip()}", next_command="tickhouse logs postgres"
            ) from error
