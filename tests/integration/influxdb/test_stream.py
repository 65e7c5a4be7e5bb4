"""From Kafka into InfluxDB by the streaming query's own function; reconcile finds a wrong point."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from common.clients.kafka import TopicLog
from common.settings import Settings
from common.topics import SERIES_DEAD_LETTERS
from spark.streaming.queries import streaming_queries
from tests.eventually import eventually
from tests.integration.influxdb.conftest import SeriesBench, point, reconcile
from tests.integration.reconcile.seed import Seeder
from tests.integration.sinks.conftest import wrong
from tests.integration.sinks.trades import AT, OFFERED
from tests.unit.tickhouse.checks.reconcile.samples import START_US, trade
from tickhouse.checks.reconcile.model import CheckedTrade
from tickhouse.cli import app

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.integration

MINUTE_US = 60_000_000


@pytest.fixture(scope="module")
def filled(
    spark: SparkSession, settings: Settings, seeder: Seeder, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SeriesBench]:
    """The streaming query has read all of `crypto.trades`, and still runs."""
    bench = SeriesBench(settings)
    bench.empty()
    stop = threading.Event()
    (query,) = (one for one in streaming_queries(settings, stop) if one.name == "series")
    source = (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", settings.kafka_bootstrap_servers)
        .option("subscribe", query.topic)
        .option("startingOffsets", "earliest")
        .load()
    )
    folder = tmp_path_factory.mktemp("checkpoint")
    writer = source.writeStream.foreachBatch(query.run).option("checkpointLocation", str(folder))
    handle = writer.trigger(processingTime=query.every).start()
    try:
        handle.processAllAvailable()
        yield bench
    finally:
        stop.set()
        handle.stop()


def test_reconcile_finds_every_trade_once(filled: SeriesBench) -> None:
    document = reconcile()

    assert wrong(document) == {}
    series, kafka = document["stores"]["influxdb"], document["stores"]["kafka"]
    assert series["count"] == series["delivered"] == len(OFFERED)
    assert series["hash_all"] == kafka["hash_all"]
    assert document["law"]["stores"]["influxdb"]["holds"]


def deleted(bench: SeriesBench, one: CheckedTrade) -> None:
    at = datetime.fromtimestamp(one.time_us // 10**6, UTC).replace(microsecond=one.time_us % 10**6)
    tags = f'symbol="{one.key.symbol}" AND market="{one.key.market}"'
    bench.delete("trades", at, at + timedelta(microseconds=1), tags)


def doubled(bench: SeriesBench, one: CheckedTrade) -> None:
    bench.send("trades", point(one).line(1))


def altered(bench: SeriesBench, one: CheckedTrade) -> None:
    bench.send("trades", point(one._replace(price=one.price + 1)).line(0))


def moved(bench: SeriesBench, one: CheckedTrade) -> None:
    deleted(bench, one)
    bench.send("trades", point(one._replace(key=one.key._replace(symbol="XRPETH"))).line(0))


def extra(bench: SeriesBench, one: CheckedTrade) -> None:
    bench.send("trades", point(one._replace(trade_id=one.trade_id - 500, time_us=one.time_us + 1)).line(0))


def shifted(bench: SeriesBench, one: CheckedTrade) -> None:
    deleted(bench, one)
    bench.send("trades", point(one._replace(time_us=one.time_us + MINUTE_US)).line(0))


def nanoseconds(bench: SeriesBench, one: CheckedTrade) -> None:
    deleted(bench, one)
    bench.send("trades", f"{point(one).line(0)[:-3]}999")


def chart_price(bench: SeriesBench, one: CheckedTrade) -> None:
    bench.send("trades", point(one).line(0).replace(",price=", ",price=1"))


FAULTS = {
    deleted: {"missing": 1},
    doubled: {"duplicate": 1},
    altered: {"mismatch": 1},
    moved: {"missing": 1, "mismatch": 1},
    extra: {"mismatch": 1},
    shifted: {"mismatch": 1},
    nanoseconds: {"mismatch": 1},
    chart_price: {"mismatch": 1},
}


@pytest.mark.parametrize("corrupt", FAULTS, ids=lambda corrupt: corrupt.__name__)
def test_one_wrong_point_is_found(filled: SeriesBench, corrupt: Callable[[SeriesBench, CheckedTrade], None]) -> None:
    corrupt(filled, OFFERED[AT])
    try:
        document = reconcile()
    finally:
        filled.empty()
        filled.write(OFFERED)

    assert wrong(document) == {"influxdb": FAULTS[corrupt]}
    assert not document["ok"] or corrupt is None
    if corrupt not in (doubled, chart_price, nanoseconds):
        assert document["stores"]["influxdb"]["minutes_differing"]


def test_explain_shows_the_point_of_a_trade(filled: SeriesBench) -> None:
    done = CliRunner().invoke(app, ["explain", OFFERED[AT].event_id, "--json"])
    (found,) = json.loads(done.stdout)["systems"]["influxdb"]

    assert found["trade_time_us"] == OFFERED[AT].time_us
    assert found["side"] == OFFERED[AT].side
    assert int(found["fields"]["price_e8"]) == OFFERED[AT].price
    assert int(found["fields"]["trade_id"]) == OFFERED[AT].trade_id


def test_a_trade_that_influxdb_cannot_hold_is_a_dead_letter(
    filled: SeriesBench, seeder: Seeder, spark: SparkSession
) -> None:
    """101 trades of one nanosecond: 100 are kept apart, the last one is refused by name."""
    alike = [trade(1_000 * number + 1, time_us=START_US + 77) for number in range(1, 102)]
    seeder.kafka("crypto.trades", alike, seeder.trade_value)
    seeder.flush()

    (letter,) = eventually(lambda: letters(filled.settings), timeout_s=180, every_s=1)
    headers = dict(letter.headers)
    assert headers["reason"] == "too_many_alike"
    assert headers["topic"] == "crypto.trades"
    assert letter.value == seeder.trade_value(alike[-1])
    document = reconcile()
    assert wrong(document) == {"influxdb": {"missing": 1}}
    assert document["stores"]["influxdb"]["examples"][0]["subject"] == alike[-1].event_id


def letters(settings: Settings) -> list[Any]:
    kafka = TopicLog(settings.kafka_bootstrap_servers)
    try:
        return list(kafka.records(SERIES_DEAD_LETTERS))
    finally:
        kafka.close()


def test_status_shows_the_store(filled: SeriesBench) -> None:
    done = CliRunner().invoke(app, ["status", "--json"])
    section = json.loads(done.stdout)["pipeline"]["influxdb"]

    assert section.keys() == {"points_of_last_hour", "newest_trade_time_age_s"}
