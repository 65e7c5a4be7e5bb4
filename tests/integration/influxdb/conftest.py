"""A home with Kafka, the registry and InfluxDB, and trades as points of InfluxDB."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from typer.testing import CliRunner

from common.clients import influxdb
from common.settings import Settings
from spark.streaming.series_points import Point, point_of
from spark.streaming.series_sink import SeriesStore, SeriesWritten
from tests.homes import own_home
from tests.influxd import require_influxd
from tests.integration.reconcile.seed import Seeder
from tests.integration.sinks.trades import OFFERED
from tickhouse.checks.reconcile.documents import Unreadable, stored_twice
from tickhouse.checks.reconcile.influxdb import points, rows
from tickhouse.checks.reconcile.model import CheckedTrade
from tickhouse.checks.reconcile.store_result import StoreResult
from tickhouse.checks.reconcile.trade_comparison import ExpectedTrades, compare
from tickhouse.cli import app


def scaled(units: int) -> bytes:
    return units.to_bytes(12, signed=True)


def point(trade: CheckedTrade, offset: int = 0) -> Point:
    """Return the point of a trade, made by the streaming query's own code."""
    record = {
        "exchange": "BINANCE", "market": trade.key.market, "symbol": trade.key.symbol, "stream": trade.key.stream,
        "trade_id": trade.trade_id, "first_trade_id": trade.first_id, "last_trade_id": trade.last_id,
        "price": scaled(trade.price), "qty": scaled(trade.qty), "side": trade.side, "trade_time": trade.time_us,
    }  # fmt: skip
    found = point_of(record, 0, offset)
    assert found is not None
    return found


def points_of_trades(trades: Iterable[CheckedTrade]) -> list[Point]:
    return [point(trade, offset) for offset, trade in enumerate(trades)]


@dataclass
class SeriesBench:
    """A running InfluxDB whose bucket of trades is empty at the beginning of each test."""

    settings: Settings

    def write(self, trades: Iterable[CheckedTrade], store: SeriesStore | None = None) -> SeriesWritten:
        """Write trades as a new driver would, or with a store that has written before."""
        return (store or SeriesStore(self.settings)).write(points_of_trades(trades))

    def compare(self, trades: Sequence[CheckedTrade]) -> StoreResult:
        """Compare the store with the trades by the reader of `tickhouse reconcile`."""
        result, bad = StoreResult("influxdb"), list[Unreadable]()
        by_stream: dict[Any, dict[int, CheckedTrade]] = {}
        for trade in trades:
            by_stream.setdefault(trade.key, {})[trade.trade_id] = trade
        compare(rows(points(self.settings), bad), ExpectedTrades(by_stream), result, repeat=stored_twice)
        for one in bad:
            result.add_fault("mismatch", one.identity, one.detail)
        return result

    def stored(self) -> list[dict[str, Any]]:
        """Return every point, sorted, with its tags and fields."""
        return sorted(points(self.settings), key=lambda one: json.dumps(one, sort_keys=True))

    def send(self, bucket: str, *lines: str) -> None:
        """Write lines with the writer's token."""
        from influxdb_client.client.write_api import SYNCHRONOUS

        with influxdb.connected(self.settings, "writer") as client:
            client.write_api(write_options=SYNCHRONOUS).write(bucket, record=[*lines], write_precision="ns")

    def flux(self, query: str, **parameters: str | datetime) -> list[dict[str, str]]:
        """Return the rows of a query with the reader's token."""
        with influxdb.connected(self.settings, "reader") as client:
            return [*influxdb.rows_of(client, query, parameters)]

    def delete(self, bucket: str, start: datetime, stop: datetime, predicate: str = "") -> None:
        """Delete points of [start, stop]."""
        with influxdb.connected(self.settings, "writer") as client:
            client.delete_api().delete(start, stop, predicate, bucket=bucket, org=self.settings.influxdb_org)

    def empty(self) -> None:
        """Remove the points of all buckets."""
        for bucket in influxdb.BUCKETS:
            self.delete(bucket, datetime(1970, 1, 2, tzinfo=UTC), datetime(2262, 1, 1, tzinfo=UTC))


@pytest.fixture(scope="package")
def settings() -> Iterator[Settings]:
    require_influxd()
    from common.settings import load_settings
    from stack.engine.lifecycle import up

    with own_home():
        up(services=["influxdb"])
        yield load_settings()


@pytest.fixture
def bench(settings: Settings) -> SeriesBench:
    """A bench with empty buckets."""
    made = SeriesBench(settings)
    made.empty()
    return made


@pytest.fixture(scope="package")
def seeder(settings: Settings) -> Seeder:
    """Kafka with the trades of `tests.integration.sinks.trades` in `crypto.trades`."""
    from stack.engine.lifecycle import up

    up(services=["kafka", "registry", "influxdb"])
    made = Seeder(settings, "unused")
    made.kafka("crypto.trades", OFFERED, made.trade_value)
    made.flush()
    return made


def reconcile(*arguments: str) -> dict[str, Any]:
    """Return the report of `tickhouse reconcile` on Kafka and InfluxDB."""
    names = ["--store", "kafka", "--store", "influxdb"]
    done = CliRunner().invoke(app, ["reconcile", "--json", *names, *arguments])
    assert done.stdout, done.output
    document: dict[str, Any] = json.loads(done.stdout)
    return document
