"""Ask Geode and the graph about one trade; both hold what was derived from it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from common.clients import geode, neo4j
from common.clients.statistics import MINUTE_US, minute_key, statistics_of
from common.event_ids import StreamName
from common.settings import Settings

_HOUR = """
MATCH (:Symbol {symbol_id: $symbol_id})-[:TRADED_IN]->(hour:TradedHour {hour_id: $hour_id})
RETURN hour.hour AS hour, hour.trades AS trades, hour.volume AS volume, hour.close AS close
"""
_COMMIT = "MATCH (loaded:LoadedCommit {graph: 'lake'}) RETURN loaded.commit_id AS commit_id"


def minute_of(settings: Settings, stream: StreamName, time_us: int | None) -> dict[str, Any]:
    """Return the minute of a trade in the rolling statistics, None where the window has passed it.

    Args:
        settings: Address and passwords.
        stream: The trade's stream.
        time_us: Its time; None when no other system knows it.

    Raises:
        StoreUnavailable: Geode does not answer.
    """
    with geode.connected(settings, "reader") as client:
        found = statistics_of(client, stream)
        answer: dict[str, Any] = {"window": None if found is None else f"{found['from']} to {found['until']}"}
        if time_us is not None:
            answer["minute"] = client.get(geode.MINUTES, minute_key(stream, time_us - time_us % MINUTE_US))
    return answer


def hour_of(settings: Settings, stream: StreamName, time_us: int | None) -> dict[str, Any]:
    """Return the hour of a trade in the graph, None where the graph does not have it.

    Raises:
        StoreUnavailable: Neo4j does not answer.
    """
    with neo4j.connected(settings, "reader") as graph:
        commits = graph.read(_COMMIT)
        answer: dict[str, Any] = {"commit": commits[0]["commit_id"] if commits else None}
        if time_us is not None:
            hour = datetime.fromtimestamp(time_us // 10**6, UTC).strftime("%Y-%m-%dT%H")
            symbol_id = f"{stream.market}:{stream.symbol}"
            rows = graph.read(_HOUR, {"symbol_id": symbol_id, "hour_id": f"{symbol_id}:{hour}"})
            answer["hour"] = rows[0] if rows else None
    return answer
