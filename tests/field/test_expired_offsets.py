"""Offsets that Kafka no longer keeps, and a topic that was recreated, with the real driver.

The servers are real, without Airflow; a test submits the driver as the DAG does. The tests run in
this order on one lakehouse.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from common.settings import Settings, load_settings
from spark.checkpoints import lost_offsets
from stack.engine.lifecycle import catalog, context_of, up
from stack.kafka.setup import create_topics
from tests.e2e.archives import write_numbered_archive
from tests.e2e.lakehouse import await_stream, bronze, tickhouse, until
from tests.faults.test_two_drivers import submit
from tests.homes import own_home
from tests.runbook.following import FollowedPage
from tickhouse.stream.lease import stopped_driver

pytestmark = pytest.mark.long

TRADES = "crypto.trades"
TRADE_QUERIES = {"candles", "last", "enriched", "lake_trades"}


@dataclass(frozen=True)
class Lakehouse:
    """Kafka, the stores, and a driver that a test starts and stops."""

    settings: Settings
    home: Path
    logs: Path

    @property
    def stream(self) -> Path:
        """The folder of checkpoints and lease."""
        return self.home / "stream"

    @contextmanager
    def driver(self) -> Iterator[None]:
        """Run the driver until the block ends, and stop it gracefully."""
        process = submit(self.home, self.logs / f"driver-{len(list(self.logs.iterdir()))}.log")
        try:
            await_stream(self.settings)
            yield
            with stopped_driver(self.stream):
                pass
            process.wait(60)
        finally:
            process.kill()
            process.wait()

    def replay(self, path: Path, *options: str) -> Any:
        """Replay a file, and return what the command prints of it."""
        return tickhouse("replay", path, "--market", "spot", *options, timeout_s=400)["files"][0]

    def applied(self, symbol: str) -> int:
        """Return how many ids the candles hold."""
        query = "SELECT sum(upper(r) - lower(r)) FROM market.trade_ranges, unnest(seen) AS r WHERE symbol = %s"
        with psycopg.connect(self.settings.database_dsn("reader")) as connection:
            return int((connection.execute(query, [symbol]).fetchone() or [0])[0] or 0)

    def in_lake(self, symbol: str) -> Counter[int]:
        """Return how often bronze holds each id of a symbol."""
        return Counter(int(row.event_id.rpartition(":")[2]) for row in bronze(self.settings) if row.symbol == symbol)

    def expire(self) -> None:
        """Remove all records of the topic, as retention does."""
        consumer = Consumer({"bootstrap.servers": self.settings.kafka_bootstrap_servers, "group.id": "probe"})
        parts = [
            TopicPartition(TRADES, part) for part in consumer.list_topics(TRADES, timeout=10).topics[TRADES].partitions
        ]
        ends = [
            TopicPartition(TRADES, one.partition, consumer.get_watermark_offsets(one, timeout=10)[1]) for one in parts
        ]
        consumer.close()
        client = self.admin()  # collected too early, it would answer no future
        for future in client.delete_records(ends).values():
            future.result(60)

    def admin(self) -> AdminClient:
        """Return a client of the broker."""
        return AdminClient({"bootstrap.servers": self.settings.kafka_bootstrap_servers})


@pytest.fixture(scope="module")
def lakehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lakehouse]:
    with own_home() as home:
        up(services=["kafka", "registry", "postgres", "redis", "lakefs"])
        yield Lakehouse(load_settings(), home, tmp_path_factory.mktemp("logs"))


@pytest.mark.runbook("query-lost-offsets")
def test_expired_offsets_become_gaps_and_can_be_delivered_again(lakehouse: Lakehouse, followed: FollowedPage) -> None:
    files = lakehouse.home / "recorded"
    with lakehouse.driver():
        lakehouse.replay(write_numbered_archive(files, "GONEUSDT", 1, 1_000))
    lost_file = write_numbered_archive(files, "GONEUSDT", 1_001, 2_000)
    lakehouse.replay(lost_file, "--no-wait")
    lakehouse.expire()
    with lakehouse.driver():
        lakehouse.replay(write_numbered_archive(files, "GONEUSDT", 2_001, 2_502))
        states = {one["name"]: one for one in tickhouse("stream", "status")}
        planned = tickhouse("stream", "repair", "--dry-run")
        followed.check()
        followed.repair()
        opened = tickhouse("gaps", "--state", "open")
        again = lakehouse.replay(lost_file)

        assert {name for name, one in states.items() if one["reason"] == "offsets_expired"} == TRADE_QUERIES
        assert all(one["lost"] for name, one in states.items() if name in TRADE_QUERIES)
        assert sum(one["offsets"] for one in planned["lost"] if one["query"] == "candles") == 1_000
        assert [(gap["symbol"], gap["first_id"], gap["last_id"]) for gap in opened] == [("GONEUSDT", 1_001, 2_000)]
        assert again["sent"] == 1_000
        until("all ids in the candles", lambda: lakehouse.applied("GONEUSDT"), 60, holds=lambda count: count == 2_502)
        until("all ids in bronze", lambda: lakehouse.in_lake("GONEUSDT"), 60, holds=lambda ids: len(ids) == 2_502)
        assert set(lakehouse.in_lake("GONEUSDT").values()) == {1}
        assert {gap["state"] for gap in tickhouse("gaps")} == {"filled"}
        assert tickhouse("stream", "repair")["lost"] == []
        law = tickhouse("reconcile", "--wait", "60", timeout_s=200)
        assert {name: store["missing"] for name, store in law["stores"].items() if store["missing"]} == {}
        assert law["ok"]


def test_expired_offsets_that_the_lake_still_has_are_sent_again(lakehouse: Lakehouse) -> None:
    files, checkpoint = lakehouse.home / "recorded", lakehouse.stream / "checkpoints" / "candles"
    shutil.copytree(checkpoint, lakehouse.home / "older")
    with lakehouse.driver():
        lakehouse.replay(write_numbered_archive(files, "BACKUSDT", 3, 700))
    # The database is set back to an older state, and its checkpoint with it.
    with psycopg.connect(lakehouse.settings.database_dsn("owner")) as connection:
        connection.execute("DELETE FROM market.trade_ranges WHERE symbol = 'BACKUSDT'")
        connection.execute("DELETE FROM market.candles_1m WHERE symbol = 'BACKUSDT'")
    shutil.rmtree(checkpoint)
    shutil.move(lakehouse.home / "older", checkpoint)
    lakehouse.expire()
    with lakehouse.driver():
        report = tickhouse("stream", "repair")

        assert report["resent"] >= 698
        assert report["gaps"] == []
        until("the ids again", lambda: lakehouse.applied("BACKUSDT"), 60, holds=lambda count: count == 698)
        assert lost_offsets.unresolved(lakehouse.stream) == []


def test_a_recreated_topic_is_read_from_its_beginning(lakehouse: Lakehouse) -> None:
    files = lakehouse.home / "recorded"
    client = lakehouse.admin()
    client.delete_topics([TRADES])[TRADES].result(60)
    until("the topic to be gone", lambda: TRADES not in client.list_topics(timeout=10).topics, 30)
    create_topics(context_of(catalog()["kafka"], lakehouse.settings))
    before = lakehouse.in_lake("BACKUSDT")
    # More than there was before: by its offsets alone this topic looks like the old one.
    lakehouse.replay(write_numbered_archive(files, "MADEUSDT", 4, 9_000), "--no-wait")
    with lakehouse.driver():
        states = {one["name"]: one["reason"] for one in tickhouse("stream", "status")}
        until("all ids in the candles", lambda: lakehouse.applied("MADEUSDT"), 90, holds=lambda count: count == 8_997)
        until("all ids in bronze", lambda: lakehouse.in_lake("MADEUSDT"), 90, holds=lambda ids: len(ids) == 8_997)
        report = tickhouse("stream", "repair")

    assert {states[name] for name in TRADE_QUERIES} == {"topic_recreated"}
    assert states["lake_ticks"] == "sound"
    assert report["gaps"] == []  # every store had read all of the old topic
    assert lost_offsets.unresolved(lakehouse.stream) == []
    assert lakehouse.in_lake("BACKUSDT") == before  # no file of the old topic was overwritten
