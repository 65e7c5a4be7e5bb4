"""Four faults while a market is played: each rings the right alert, and its repair is told.

Every test logs the seconds from the fault to the line in the file of the notifications:
`.venv/bin/pytest tests/faults/test_alerts_ring.py --log-cli-level=INFO`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from confluent_kafka import Producer

from common.clients.airflow import AirflowApi
from common.clients.lakefs import INGEST, repository
from common.topics import TRADES
from stack.engine import supervisor
from stack.engine.lifecycle import up
from tests.conftest import Stack
from tests.e2e.archives import write_archive
from tests.e2e.lakehouse import await_stream, tickhouse, until
from tests.e2e.test_scheduled import trades
from tests.homes import own_home
from tests.integration.observe.conftest import SERVICES, Observed
from tickhouse.lake.branches import commit

pytestmark = [pytest.mark.faults, pytest.mark.long, pytest.mark.timeout(3600)]

log = logging.getLogger(__name__)

CONFIG = Path(__file__).with_name("market.yaml")
CONNECTOR = "mongodb-trades"
# The promise is a minute; a machine that is three times slower gets three.
RINGS_S = 180.0
NOON = datetime(2024, 3, 5, 12, tzinfo=UTC)
THE_DAY = {"from": "2024-03-05", "to": "2024-03-05"}


@pytest.fixture(scope="module")
def observed() -> Iterator[Observed]:
    with own_home() as home, pytest.MonkeyPatch.context() as patch:
        settings = Stack(home).up()
        await_stream(settings)
        patch.setenv("TICKHOUSE_EXCHANGE_CONFIG", str(CONFIG))
        up(services=[*SERVICES, "mongodb", "exchange", "producer"])
        found = Observed(settings)
        tickhouse("connectors", "apply")
        until("a connection of the producer", lambda: found.query("tickhouse_producer_connections > 0"), 180.0)
        until(
            "a running connector",
            lambda: found.query(f'tickhouse_connector_running{{connector="{CONNECTOR}"}} == 1'),
            180.0,
        )
        yield found


@contextmanager
def rings(observed: Observed, rule: str, about: str = "") -> Iterator[None]:
    """Expect that what the block breaks rings once, and print after how long."""
    before = len(observed.notified(rule, about))
    yield
    began = time.monotonic()
    until(f"{rule} of {about}", lambda: observed.notified(rule, about)[before:], RINGS_S)
    log.info("%s: delivered after %.0f s", rule, time.monotonic() - began)


@contextmanager
def ends(observed: Observed, rule: str, about: str = "", timeout_s: float = RINGS_S) -> Iterator[None]:
    """Expect that what the block repairs is told as resolved."""
    before = len(observed.notified(rule, about))

    def is_told() -> bool:
        # The market is synthetic, which each summary says first.
        return any("resolved: " in one["summary"] for one in observed.notified(rule, about)[before:])

    yield
    until(f"the end of {rule} of {about}", is_told, timeout_s)


def test_a_connector_that_is_stopped(observed: Observed) -> None:
    with rings(observed, "ConnectorDown", CONNECTOR):
        tickhouse("connectors", "pause", CONNECTOR)
    with ends(observed, "ConnectorDown", CONNECTOR):
        tickhouse("connectors", "resume", CONNECTOR)


def test_an_exchange_that_is_cut_off(observed: Observed) -> None:
    with rings(observed, "ExchangeDisconnected"):
        supervisor.stop(["exchange"])
    with ends(observed, "ExchangeDisconnected"):
        supervisor.start("exchange")


def test_a_record_that_nobody_can_read(observed: Observed) -> None:
    with rings(observed, "DeadLetters", "dlq.spark"):
        producer = Producer({"bootstrap.servers": observed.settings.kafka_bootstrap_servers})
        producer.produce(TRADES, b"no Avro")
        assert producer.flush(30) == 0
    with ends(observed, "DeadLetters", "dlq.spark", 600 + RINGS_S):
        pass  # it ends by itself ten minutes after the last dead letter


def without_last_row(parquet: bytes) -> bytes:
    table = pq.read_table(pa.BufferReader(parquet))
    sink = pa.BufferOutputStream()
    pq.write_table(table.slice(0, len(table) - 1), sink)
    return sink.getvalue().to_pybytes()


def test_an_audit_that_fails(observed: Observed) -> None:
    with AirflowApi(observed.settings) as airflow:
        file = write_archive(observed.settings.home / "archives" / "day.csv", trades(90_000, NOON, ["70"] * 120))
        conf = {"market": "spot", "symbol": "LTCUSDT", **THE_DAY, "file": str(file)}
        assert airflow.wait("backfill", airflow.trigger("backfill", conf), 900.0) == "success"
        ingest = repository(observed.settings).branch(INGEST)
        path = next(one.path for one in ingest.objects(prefix=f"bronze/trades/date={NOON:%Y-%m-%d}/"))
        with ingest.object(path).reader(mode="rb") as reader:
            body = reader.read()

        with rings(observed, "audit_failed", "dag:nightly_batch"):
            ingest.object(path).upload(without_last_row(body), mode="wb")
            commit(observed.settings, INGEST, "lose a row", {})
            assert airflow.wait("nightly_batch", airflow.trigger("nightly_batch", THE_DAY), 900.0) == "failed"
        with ends(observed, "audit_failed", "dag:nightly_batch"):
            ingest.object(path).upload(body, mode="wb")
            commit(observed.settings, INGEST, "restore the row", {})
            assert airflow.wait("nightly_batch", airflow.trigger("nightly_batch", THE_DAY), 900.0) == "success"
