"""Compare the hours of the graph with the hourly candles of the commit that it was loaded from.

The graph is derived from the lake as a whole, and follows it after each publication. So it is
compared with its own commit and not with Kafka: whether the lake is right is checked elsewhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

import pyarrow as pa

from common.clients.neo4j import Graph, connected
from common.settings import Settings
from tickhouse.checks.reconcile.lake_bronze import LakeReader
from tickhouse.checks.reconcile.store_result import StoreResult

_COLUMNS = ["market", "symbol", "open_time", "close", "volume", "quote_volume", "trades", "agg_trades"]
_AMOUNTS = ("close", "volume", "quote_volume")

_COMMIT = "MATCH (loaded:LoadedCommit {graph: 'lake'}) RETURN loaded.commit_id AS commit_id"
_REMOVED = "MATCH (day:LoadedDay) WHERE day.is_removed RETURN day.date AS date"
# An hour without a symbol, or with two, gives another number of rows than one.
_HOURS = """
MATCH (hour:TradedHour) OPTIONAL MATCH (symbol:Symbol)-[:TRADED_IN]->(hour)
RETURN hour.hour_id AS hour_id, symbol.symbol_id AS symbol_id, hour.close AS close, hour.volume AS volume,
       hour.quote_volume AS quote_volume, hour.trades AS trades
"""


@dataclass(frozen=True)
class StoredGraph:
    """What the graph holds.

    Attributes:
        commit_id: The commit that it was loaded from; empty when it was never loaded.
        hours: One row per hour and symbol.
        removed_days: Days whose hours retention removed.
    """

    commit_id: str
    hours: tuple[Mapping[str, Any], ...]
    removed_days: frozenset[str] = frozenset()


def read(settings: Settings) -> StoredGraph:
    """Read the graph.

    Raises:
        StoreUnavailable: Neo4j does not answer.
    """
    with connected(settings, "reader") as graph:
        return _read(graph)


def _read(graph: Graph) -> StoredGraph:
    commits = [row["commit_id"] for row in graph.read(_COMMIT) if row["commit_id"]]
    removed = frozenset(row["date"] for row in graph.read(_REMOVED))
    return StoredGraph(commits[0] if commits else "", tuple(graph.read(_HOURS)), removed)


def candle_hours(lake: LakeReader) -> dict[str, dict[str, Any]]:
    """Return the expected hours of a commit, by id; an hour without trades is not in the graph.

    Raises:
        StoreUnavailable: The lake does not answer, or a file cannot be read.
    """
    found: dict[str, dict[str, Any]] = {}
    for path in lake.files("gold/candles_1h"):
        table = lake.table(path, _COLUMNS)
        if table is not None:
            found |= dict(_hours(table))
    return found


def _hours(table: pa.Table) -> Iterator[tuple[str, dict[str, Any]]]:
    for candle in table.to_pylist():
        if not candle["agg_trades"]:
            continue
        open_time: datetime = candle["open_time"]
        symbol_id = f"{candle['market']}:{candle['symbol']}"
        hour_id = f"{symbol_id}:{open_time.astimezone(UTC):%Y-%m-%dT%H}"
        amounts = {name: candle[name] for name in (*_AMOUNTS, "trades")}
        yield hour_id, {"hour_id": hour_id, "symbol_id": symbol_id} | amounts


def compare(found: StoredGraph, wanted: Mapping[str, Mapping[str, Any]], result: StoreResult) -> None:
    """Compare the hours of the graph with those of its commit; `delivered` counts the right ones.

    Args:
        found: What the graph holds.
        wanted: The expected hours, by id.
        result: Receives counts and faults.
    """
    result.count = len(found.hours)
    copies = Counter(row["hour_id"] for row in found.hours)
    result.distinct = len(copies)
    for hour_id in sorted(hour_id for hour_id, count in copies.items() if count > 1):
        result.add_fault("duplicate", hour_id, f"the hour belongs to {copies[hour_id]} symbols")
    for row in found.hours:
        _compare_hour(row, wanted.get(row["hour_id"]), result)
    for hour_id in sorted(wanted.keys() - copies.keys()):
        if _day(hour_id) in found.removed_days:
            result.expired += 1
        else:
            result.add_fault("missing", hour_id, "no such hour in the graph")


def _compare_hour(row: Mapping[str, Any], wanted: Mapping[str, Any] | None, result: StoreResult) -> None:
    if wanted is None:
        result.add_fault("mismatch", str(row["hour_id"]), "the commit has no trades in this hour")
        return
    wrong = [name for name, value in wanted.items() if not _is_equal(row[name], value)]
    if wrong:
        detail = "; ".join(f"{name}: expected {wanted[name]}, was {row[name]}" for name in wrong)
        result.add_fault("mismatch", str(row["hour_id"]), detail)
    else:
        result.delivered += 1


def _is_equal(found: object, wanted: object) -> bool:
    if not isinstance(wanted, Decimal):
        return found == wanted
    try:
        return isinstance(found, str) and Decimal(found) == wanted
    except InvalidOperation:
        return False


def _day(hour_id: str) -> str:
    return hour_id.rpartition(":")[2][:10]
