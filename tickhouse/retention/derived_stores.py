"""Retention of the stores that are derived from others: Geode's entries, hours of the graph."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from common.clients import geode, neo4j
from common.settings import Settings
from tickhouse.retention.policy import EPOCH, Step, StorePlan, days_text, store_plan

# A graph that was loaded by an earlier version has no times of its days.
_OLD_DAYS = """
MATCH (day:LoadedDay) WHERE NOT coalesce(day.is_removed, false)
OPTIONAL MATCH (loaded:LoadedCommit {graph: 'lake'})
WITH day, coalesce(day.loaded_at_s, loaded.committed_at) AS loaded_at_s WHERE loaded_at_s < $before_s
RETURN day.date AS date, COUNT { MATCH (:TradedHour {date: day.date}) } AS hours ORDER BY date
"""
# The checksum stays, so that a synchronization loads the day again only when its files change.
_REMOVE_DAY = """
MATCH (day:LoadedDay {date: $date}) SET day.is_removed = true
WITH day MATCH (hour:TradedHour {date: day.date}) DETACH DELETE hour
"""


@dataclass(frozen=True)
class GeodeExpiry:
    """Retention of Geode: statistics and states of alerts have a time to live.

    It counts from the last write. Geode removes the entries itself, so there is nothing to do.
    """

    settings: Settings
    days: int
    store: str = "geode"

    @property
    def declared(self) -> str:
        """Return in words how long an entry is kept."""
        return f"an entry, {days_text(self.days)} after its last write (its time to live)"

    def plan(self, now: datetime) -> StorePlan:
        """Return a plan without steps, and the number of entries.

        Raises:
            StoreUnavailable: Geode does not answer.
        """
        with geode.connected(self.settings, "reader") as client:
            notes = [f"{region}: {client.count(region)} entries" for region in geode.REGIONS]
        return store_plan(self, (), notes=tuple(notes))

    def do(self, step: Step, now: datetime) -> None:
        """Do nothing: the plan has no steps."""


@dataclass(frozen=True)
class GraphHours:
    """Retention of the graph: the hours of a day, counted from when the day was loaded.

    Symbols, their listings and the loaded days stay: there is one listing per change, and one day
    per day of the lake.
    """

    settings: Settings
    days: int
    store: str = "neo4j"

    @property
    def declared(self) -> str:
        """Return in words how long an hour is kept."""
        return f"the hours of a day, {days_text(self.days)} after the day was loaded"

    def plan(self, now: datetime) -> StorePlan:
        """Return a step per day whose hours are old enough.

        Raises:
            StoreUnavailable: Neo4j does not answer.
        """
        before = now - timedelta(days=self.days)
        with neo4j.connected(self.settings, "reader") as graph:
            found = graph.read(_OLD_DAYS, {"before_s": (before - EPOCH) // timedelta(seconds=1)})
        why = f"loaded before {before:%Y-%m-%d}"
        return store_plan(self, (Step("remove", day["date"], why, rows=day["hours"]) for day in found))

    def do(self, step: Step, now: datetime) -> None:
        """Remove the hours of a day.

        Raises:
            StoreUnavailable: Neo4j does not answer.
        """
        with neo4j.connected(self.settings, "writer") as graph:
            graph.write(_REMOVE_DAY, {"date": step.item})
