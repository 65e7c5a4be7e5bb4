"""Every card of Metabase runs on PostgreSQL as the role that Metabase has, and returns rows."""

from __future__ import annotations

import time
from typing import Any

import psycopg
import pytest

from common.settings import Settings
from compose.metabase.files import PARAMETER, MetabaseCard, MetabaseDashboard, read_dashboards

pytestmark = pytest.mark.integration
CARDS = [(dashboard, card) for dashboard in read_dashboards() for card in dashboard.cards]
# On a market of two days; a card on a year of minutes must not be much slower, so all are bounded.
MOST_S = 5.0


def answer(settings: Settings, card: MetabaseCard, filters: dict[str, str]) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Return columns and rows; values go as parameters, as Metabase sends them."""
    statement = PARAMETER.sub(r"%(\1)s", card.sql)
    with psycopg.connect(settings.database_dsn("reader")) as connection:
        done = connection.execute(statement.encode(), filters)
        return [column.name for column in done.description or ()], done.fetchall()


@pytest.mark.parametrize(("dashboard", "card"), CARDS, ids=[card.name for _, card in CARDS])
def test_a_card_returns_rows(
    settings: Settings, dashboard: MetabaseDashboard, card: MetabaseCard, rows_of_queries: dict[str, int]
) -> None:
    began = time.monotonic()
    columns, rows = answer(settings, card, dashboard.filters)

    assert rows
    rows_of_queries[card.name] = len(rows)
    assert time.monotonic() - began < MOST_S
    drawn = [*card.settings.get("graph.dimensions", ()), *card.settings.get("graph.metrics", ())]
    assert set(drawn) <= set(columns)


def test_the_figures_are_those_of_the_market(settings: Settings) -> None:
    by_name = {card.name: (dashboard, card) for dashboard, card in CARDS}
    dashboard, card = by_name["hourly_candles"]
    columns, rows = answer(settings, card, dashboard.filters)
    trades = sum(row[columns.index("trades")] for row in rows)
    assert trades == 1800  # one per minute of 30 hours

    dashboard, card = by_name["live_against_published"]
    columns, rows = answer(settings, card, dashboard.filters)
    for row in rows:
        found = dict(zip(columns, row, strict=True))
        assert found["difference"] == found["live_trades"] - 1000


def test_the_role_of_metabase_cannot_write(settings: Settings) -> None:
    with psycopg.connect(settings.database_dsn("reader")) as connection:
        tables = connection.execute(
            "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables "
            "WHERE schemaname IN ('market', 'gold', 'alerts', 'audit', 'public')"
        ).fetchall()
        writable = [
            name
            for (name,) in tables
            for right in ("INSERT", "UPDATE", "DELETE", "TRUNCATE")
            if connection.execute("SELECT has_table_privilege(%s, %s)", [name, right]).fetchone() == (True,)
        ]
    assert len(tables) > 10
    assert writable == []
