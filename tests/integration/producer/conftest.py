"""A real broker and registry, local exchanges, and producers in processes of their own."""

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

from common.clients.kafka import TopicLog
from common.settings import REPO, Settings, load_settings, ports
from common.topics import GAPS, LEDGER, PRODUCER_DEAD_LETTERS, TICKS, TRADES
from producer.encoding.events import decode
from schemas import topics
from stack.engine.lifecycle import up
from stack.engine.probe import accepts_connections
from standins.exchange.oracle import MarketOracle
from tests.eventually import eventually
from tests.homes import own_home
from tests.integration.exchange.conftest import ExchangeProcess, exchange
from tests.ports import free_port
from tests.shared_files import tool

__all__ = ["exchange"]


@dataclass
class Log:
    """The records of the topics, read again by every call."""

    bootstrap: str

    def _read(self, topic: str) -> list[object]:
        reader = TopicLog(self.bootstrap)
        try:
            return list(reader.read(topic))
        finally:
            reader.close()

    def await_records(self, topic: str, wanted: int) -> None:
        """Wait until a topic has more than so many records; checking its offsets takes 1 ms."""
        reader = TopicLog(self.bootstrap)
        try:
            eventually(lambda: sum(reader.ends(topic).values()) > wanted, timeout_s=60, every_s=0.005)
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
            for message in self._read(PRODUCER_DEAD_LETTERS)
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
    """Return the settings of a broker and registry for these tests alone."""
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
    """Make the topics; return false while the broker still deletes the old ones."""
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

    def start(self, exchange: ExchangeProcess, *arguments: str, ws: str = "", rest: str = "") -> subprocess.Popen:
        """Start a producer; `ws` and `rest` are addresses between it and the exchange."""
        urls = ["--ws-url", f"ws://{ws or exchange.address}", "--rest-url", f"http://{rest or exchange.address}"]
        command = [sys.executable, "-m", "producer", "live", *urls, "--snapshot-s", "0.5", *arguments]
        with (self.folder / f"producer-{len(self.running)}.log").open("wb") as errors:
            process = subprocess.Popen(command, cwd=REPO, env=os.environ, stderr=errors)
        self.running.append(process)
        return process

    def start_tool(self, name: str, up: str, *arguments: str) -> str:
        """Start a faulty server in front of `up`, and return its address."""
        port = free_port()
        command = [sys.executable, tool(name), up, str(port), *arguments]
        self.running.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))
        return f"127.0.0.1:{port}"

    def stop(self, process: subprocess.Popen) -> int:
        """Wait until a producer has started, stop it, and return its exit code."""
        port = ports()["producer_metrics"]
        eventually(lambda: process.poll() is not None or accepts_connections(f"127.0.0.1:{port}"), timeout_s=60)
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


def truth_ids(exchange: ExchangeProcess) -> set[str]:
    """Return the event id of every valid trade that the exchange has offered."""
    return {trade.event_id for trade in MarketOracle.from_document(exchange.truth()).trades()}
