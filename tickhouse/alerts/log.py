"""Read the alerts that rang, from PostgreSQL: for the CLI, the API and its live stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

from common.clients.postgres import read_only
from common.settings import Settings

MOST = 1_000

_NEWEST: LiteralString = """
SELECT number, document FROM alerts.alerts
WHERE (%(since)s::timestamptz IS NULL OR raised_at >= %(since)s) AND (%(historic)s OR NOT is_historic)
ORDER BY raised_at DESC, number DESC LIMIT %(limit)s
"""
_AFTER: LiteralString = (
    "SELECT number, document FROM alerts.alerts WHERE number > %(after)s ORDER BY number LIMIT %(limit)s"
)
_COUNTS: LiteralString = "SELECT kind, count(*) FROM alerts.alerts WHERE NOT is_historic GROUP BY 1 ORDER BY 1"


@dataclass(frozen=True, slots=True)
class LoggedAlert:
    """An alert and its number; numbers grow in the order in which alerts were recorded.

    `document` has alert_id, rule, kind, severity, subject, window, market, symbol, raised_at,
    summary, values, is_historic and is_simulated (docs/reference/alerts.md).
    """

    number: int
    document: dict[str, Any]


def recent(
    settings: Settings,
    *,
    since: datetime | None = None,
    limit: int = 100,
    with_historic: bool = True,
    role: str = "reader",
) -> list[LoggedAlert]:
    """Return the newest alerts, newest first.

    Args:
        settings: Addresses and passwords.
        since: Only alerts that were raised then or later.
        limit: Most alerts to return, at most `MOST`.
        with_historic: Include alerts about old data, of which nobody was notified.
        role: The database role to read as.

    Raises:
        StoreUnavailable: PostgreSQL does not answer.
    """
    values = {"since": since, "limit": min(limit, MOST), "historic": with_historic}
    with read_only(settings.database_dsn(role)) as connection:
        return _logged(connection.execute(_NEWEST, values).fetchall())


def after(settings: Settings, number: int, *, limit: int = 100, role: str = "reader") -> list[LoggedAlert]:
    """Return the alerts that were recorded after one, oldest first; `number` 0 for all.

    Only one process records alerts, so a reader that follows the numbers misses none.

    Raises:
        StoreUnavailable: PostgreSQL does not answer.
    """
    with read_only(settings.database_dsn(role)) as connection:
        return _logged(connection.execute(_AFTER, {"after": number, "limit": min(limit, MOST)}).fetchall())


def counts(settings: Settings, role: str = "reader") -> dict[str, int]:
    """Return how many alerts rang, by kind, without those about old data.

    Raises:
        StoreUnavailable: PostgreSQL does not answer.
    """
    with read_only(settings.database_dsn(role)) as connection:
        return dict(connection.execute(_COUNTS).fetchall())


def _logged(rows: Sequence[tuple[int, dict[str, Any]]]) -> list[LoggedAlert]:
    return [LoggedAlert(number, document) for number, document in rows]
