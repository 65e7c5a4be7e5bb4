"""Every panel of the market dashboard returns data from the native PostgreSQL and InfluxDB."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import psycopg
import pytest

from common.clients import influxdb
from common.settings import Settings
from spark.streaming.series_sink import SeriesStore
from tests.influxd import require_influxd
from tests.integration.boards.grafana_queries import GrafanaQuery, queries
from tests.integration.boards.stored_market import live_trades
from tests.integration.influxdb.conftest import point
from tests.unit.tickhouse.checks.reconcile.samples import BTC, ETH, trade

pytestmark = pytest.mark.integration
HOUR = timedelta(hours=1)
# What each form of a panel needs in its columns.
TIME = "time"


@pytest.fixture(scope="module")
def series(settings: Settings) -> Settings:
    """InfluxDB with the trades of the last hour, written by the streaming query's code."""
    require_influxd()
    from stack.engine.lifecycle import up

    up(services=["influxdb"])
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    start_us = int((now - HOUR).timestamp()) * 1_000_000
    chosen = [one for one in live_trades(now) if one.time_us >= start_us]
    keys = {"BTCUSDT": BTC, "ETHUSDT": ETH._replace(market="spot", symbol="ETHUSDT", stream="aggTrade")}
    made = [
        trade(
            one.trade_id, key=keys[one.symbol], time_us=one.time_us, side=one.side,
            price=int(Decimal(one.price).scaleb(8)), qty=int(Decimal(one.qty).scaleb(8)),
        )
        for one in chosen
    ]  # fmt: skip
    SeriesStore(settings).write([point(one, offset) for offset, one in enumerate(made)])
    return settings


@pytest.mark.parametrize("query", queries("postgres"), ids=lambda one: one.panel)
def test_a_panel_on_postgresql_returns_data(
    settings: Settings, query: GrafanaQuery, rows_of_queries: dict[str, int]
) -> None:
    now = datetime.now(UTC)
    with psycopg.connect(settings.database_dsn("reader")) as connection:
        done = connection.execute(query.sql(now - HOUR, now).encode())
        columns, rows = [column.name for column in done.description or ()], done.fetchall()

    assert rows
    rows_of_queries[query.name] = len(rows)
    assert all(value is not None for value in rows[-1])
    if query.kind in ("timeseries", "candlestick"):
        assert columns[0] == TIME
        assert len(rows) > 50  # a minute each
    # Grafana draws floats; a decimal would come as text.
    assert all(isinstance(value, float) for row in rows for value in row[columns[0] == TIME :])


def test_the_averages_are_those_of_the_live_page(settings: Settings) -> None:
    """Over five minutes: the quotient of the sums, as api/page/assets/averages.js has it."""
    now = datetime.now(UTC)
    (query,) = (one for one in queries("postgres") if one.panel.startswith("Averages"))
    with psycopg.connect(settings.database_dsn("reader")) as connection:
        rows = connection.execute(query.sql(now - HOUR, now).encode()).fetchall()
        newest = rows[-1][0]
        expected = connection.execute(
            "SELECT sum(vwap * volume) / sum(volume) FROM market.candles "
            "WHERE symbol = 'BTCUSDT' AND open_time > %s AND open_time <= %s",
            [newest - timedelta(minutes=5), newest],
        ).fetchone()
    assert rows[-1][2] == pytest.approx(float((expected or (0,))[0]))


@pytest.mark.parametrize("query", queries("influxdb"), ids=lambda one: one.panel)
def test_a_panel_on_influxdb_returns_data(
    series: Settings, query: GrafanaQuery, rows_of_queries: dict[str, int]
) -> None:
    now = datetime.now(UTC)
    with influxdb.connected(series, "reader") as client:
        rows = [*influxdb.rows_of(client, query.flux(now - 2 * HOUR, now))]

    assert rows
    rows_of_queries[query.name] = len(rows)
    assert all(row["_value"] for row in rows)


def test_variables_offer_the_stored_symbols(settings: Settings) -> None:
    import json

    from tests.integration.boards.grafana_queries import FOLDER

    listed = json.loads((FOLDER / "market.json").read_text())["templating"]["list"]
    found = {one["name"]: one["query"].replace("$market", "spot") for one in listed if one["type"] == "query"}
    with psycopg.connect(settings.database_dsn("reader")) as connection:
        assert connection.execute(found["market"].encode()).fetchall() == [("spot",)]
        assert connection.execute(found["symbol"].encode()).fetchall() == [("BTCUSDT",), ("ETHUSDT",)]
