"""A real broker and registry, look-alikes of the exchange, and producers in processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from producer.codec import decode
from producer.outbox import DEAD_LETTERS, GAPS, LEDGER, TICKS, TRADES
from producer.topic_log import TopicLog
from schemas import topics
from stack.engine import up
from stack.exchange.truth import Truth
from tests.eventually import eventually
from tests.homes import own_home
from tests.integration.exchange.conftest import Exchange, exchange
from tickhouse.settings import REPO, Settings, load_settings

__all__ = ["exchange"]


@dataclass
class Log:
    """What the topics hold, read anew by every call."""

    bootstrap: str

    def _read(self, topic: str) -> list[object]:
        reader = TopicLog(self.bootstrap)
        try:
            return list(reader.read(topic))
        finally:
            reader.close()

    def trades(self) -> list[dict]:
        return [decode("trade", message.value()) for message in self._read(TRADES)]

    def trade_ids(self) -> Counter:
        return Counter(record["event_id"] for record in self.trades())

    def ticks(self) -> list[dict]:
        return [decode("tick", message.value()) for message in self._read(TICKS)]

    def letters(self) -> list[tuple[str, dict]]:
        return [
            (message.key().decode(), {name: text.decode() for name, text in message.headers()})
            for message in self._read(DEAD_LETTERS)
        ]

    def _latest(self, topic: str) -> dict:
        reader = TopicLog(self.bootstrap)
        try:
            return reader.latest(topic)
        finally:
            reader.close()

    def gaps(self) -> list[dict]:
        return list(self._latest(GAPS).values())

    def ledger(self) -> dict:
        return self._latest(LEDGER)


@pytest.fixture(scope="package")
def broker() -> Iterator[Settings]:
    """Return the settings of a broker and registry of our own: every test here begins with empty topics."""
    with own_home():
        up(services=["kafka", "registry"])
        yield load_settings()


@pytest.fixture
def log(broker: Settings) -> Log:
    """Return the log of a broker whose topics are empty."""
    admin = AdminClient({"bootstrap.servers": broker.kafka_bootstrap_servers})
    for done in admin.delete_topics(list(topics())).values():
        done.result()
    new = [NewTopic(topic.name, topic.partitions, 1, config=topic.config) for topic in topics().values()]
    eventually(lambda: _create(admin, new), timeout_s=30)
    return Log(broker.kafka_bootstrap_servers)


def _create(admin: AdminClient, new: list[NewTopic]) -> bool:
    """Make the topics; false while the broker still takes the old ones away."""
    from confluent_kafka import KafkaException

    try:
        for done in admin.create_topics(new).values():
            done.result()
    except KafkaException:
        return False
    return True


@dataclass
class Producers:
    """Starts live producers against one exchange."""

    folder: Path
    running: list[subprocess.Popen] = field(default_factory=list)

    def start(self, exchange: Exchange, *arguments: str) -> subprocess.Popen:
        urls = ["--ws-url", f"ws://{exchange.address}", "--rest-url", f"http://{exchange.address}"]
        command = [sys.executable, "-m", "producer", "live", *urls, "--snapshot-s", "0.5", *arguments]
        with (self.folder / f"producer-{len(self.running)}.log").open("wb") as errors:
            process = subprocess.Popen(command, cwd=REPO, env=os.environ, stderr=errors)
        self.running.append(process)
        return process

    def stop(self, process: subprocess.Popen) -> int:
        process.send_signal(signal.SIGTERM)
        return process.wait(timeout=30)

    def said(self) -> str:
        return "\n".join(path.read_text() for path in sorted(self.folder.glob("producer-*.log")))


@pytest.fixture
def producers(tmp_path: Path) -> Iterator[Producers]:
    started = Producers(tmp_path)
    yield started
    for process in started.running:
        if process.poll() is None:
            process.kill()
            process.wait(timeout=10)


def truth_ids(exchange: Exchange) -> set[str]:
    """Return the event id of every valid trade that the exchange has offered."""
    return {trade.event_id for trade in Truth.from_document(exchange.truth()).trades()}
