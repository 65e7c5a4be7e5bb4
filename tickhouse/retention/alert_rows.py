"""Retention of alerts in PostgreSQL: alerts, their deliveries, and what the rules remember."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, LiteralString

import psycopg

from common.errors import StoreUnavailable
from tickhouse.retention.policy import Step, StorePlan, days_text, store_plan

# Table to what is old in it. An alert that Kafka does not have yet stays, however old it is.
_OLD: dict[str, LiteralString] = {
    "alerts": "FROM alerts.alerts WHERE published_at < %s",
    "deliveries": "FROM alerts.deliveries WHERE updated_at < %s",
    "rule_states": "FROM alerts.rule_states WHERE updated_at < %s",
}


@dataclass(frozen=True)
class AlertRows:
    """Retention of schema `alerts`.

    A delivery is kept as long as its message can still come again: the topic and the dead-letter
    queue keep theirs for 30 days.

    Args:
        dsn: PostgreSQL, as tickhouse_owner.
        days: The declaration.
    """

    dsn: str
    days: int
    store: str = "alerts"

    @property
    def declared(self) -> str:
        """Return in words how long a row is kept."""
        return f"an alert, its deliveries and an unchanged state of a rule, {days_text(self.days)}"

    def plan(self, now: datetime) -> StorePlan:
        """Return one step per table with old rows.

        Raises:
            StoreUnavailable: PostgreSQL does not answer.
        """
        horizon = now - timedelta(days=self.days)
        steps = []
        for table, old in _OLD.items():
            rows = self._execute("SELECT count(*) " + old, horizon)
            if rows:
                steps.append(Step("remove", table, f"{rows} rows are from before {horizon:%Y-%m-%d}", rows=rows))
        return store_plan(self, steps)

    def do(self, step: Step, now: datetime) -> None:
        """Delete the old rows of one table.

        Raises:
            StoreUnavailable: PostgreSQL does not answer.
        """
        self._execute("DELETE " + _OLD[step.item], now - timedelta(days=self.days))

    def _execute(self, query: LiteralString, horizon: datetime) -> int:
        try:
            with psycopg.connect(self.dsn, connect_timeout=10) as connection:
                cursor = connection.execute(query, [horizon])
                row: Any = cursor.fetchone() if cursor.description else (cursor.rowcount,)
                return int(row[0])
        except psycopg.Error as error:
            raise StoreUnavailable(
                f"PostgreSQL does not answer: {str(error).strip()}", next_command="tickhouse logs postgres"
            ) from error
