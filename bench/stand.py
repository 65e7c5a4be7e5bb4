"""Where the benchmarks run: a home and ports of their own, services started when a benchmark first asks for them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import yaml

from bench.harness import BenchmarkFailed, say
from stack.engine.portmap import listeners
from tickhouse.settings import REPO, Settings, load_settings, ports

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient

# Below Linux's range of ports for outgoing connections, apart from those of stacks started by hand and of the tests.
PORT_BASES = range(26_100, 28_000, 100)


@dataclass
class Stand:
    """One run's stack.

    Args:
        home: Its home: data, logs, secrets.
        is_quick: Sizes small enough to try the benchmarks, too small to trust the figures.
    """

    home: Path
    is_quick: bool = False
    started: set[str] = field(default_factory=set)

    def sized(self, full: int, quick: int) -> int:
        """Return one of two sizes."""
        return quick if self.is_quick else full

    def up(self, *services: str) -> Settings:
        """Start the named services and what they need, and return the settings."""
        from stack.engine import up

        if missing := [name for name in services if name not in self.started]:
            say(f"    starting {', '.join(missing)}")
            self.started.update(missing)  # first: what is half up must come down too
            up(services=missing)
        return load_settings()

    def file(self, name: str) -> Path:
        """Return the path of a file of this run."""
        folder = self.home / "bench"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / name


@contextmanager
def stand(*, is_quick: bool = False) -> Iterator[Stand]:
    """Make a home in the temporary folder and point this process at it; take all down at the end.

    The ports are those of TICKHOUSE_PORT_BASE when that is set, else a block that is free.
    """
    from stack.engine import down

    temporary = Path(tempfile.mkdtemp(prefix="tickhouse-bench-")).resolve()
    temporary.chmod(0o711)  # PostgreSQL may have to run as `nobody`
    home = temporary / "home"
    before = {name: os.environ.get(name) for name in ("TICKHOUSE_HOME", "TICKHOUSE_PORT_BASE")}
    os.environ["TICKHOUSE_HOME"] = str(home)
    os.environ.setdefault("TICKHOUSE_PORT_BASE", str(_free_base()))
    ports.cache_clear()
    bench = Stand(home, is_quick)
    try:
        yield bench
    finally:
        if bench.started:  # else there are files of a benchmark at most, and no home that `up` made
            down(purge=True)
        shutil.rmtree(temporary, ignore_errors=True)
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        ports.cache_clear()


def _free_base() -> int:
    taken = set(listeners())
    return next(base for base in PORT_BASES if taken.isdisjoint(range(base, base + 100)))


def until(probe: Callable[[], Any], what: str, *, timeout_s: float, every_s: float = 0.2) -> Any:
    """Call `probe` until it returns something true and return that.

    Raises:
        BenchmarkFailed: Nothing true came in time.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() > deadline:
            raise BenchmarkFailed(f"Expected {what} within {timeout_s:g} s, was not.")
        time.sleep(every_s)


def empty_topics(settings: Settings) -> None:
    """Make every topic of schemas/topics.yaml anew: the next writer begins with an empty log and ledger."""
    from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]  # re-exported without __all__

    from schemas import topics
    from stack.kafka.setup import admin

    new = [NewTopic(topic.name, topic.partitions, 1, config=topic.config) for topic in topics().values()]
    _renew(admin(settings.kafka_bootstrap_servers), new)


def renew_topic(settings: Settings, name: str, partitions: int, config: dict[str, str] | None = None) -> None:
    """Make one topic anew."""
    from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]  # re-exported without __all__

    from stack.kafka.setup import admin

    _renew(admin(settings.kafka_bootstrap_servers), [NewTopic(name, partitions, 1, config=config or {})])


def _renew(admin: AdminClient, new: list[Any]) -> None:
    from confluent_kafka import KafkaError, KafkaException

    present = set(admin.list_topics(timeout=30).topics)
    doomed = [topic.topic for topic in new if topic.topic in present]
    for done in (admin.delete_topics(doomed) if doomed else {}).values():
        done.result()

    def create() -> bool:
        left = []
        for topic, done in admin.create_topics(new).items():
            try:
                done.result()
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:  # the old one, still going
                    raise
                left.append(topic)
        new[:] = [topic for topic in new if topic.topic in left]
        return not new

    until(create, "new topics", timeout_s=60)


def count_records(settings: Settings, topic: str) -> int:
    """Return how many records a topic holds, by its offsets."""
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer({"bootstrap.servers": settings.kafka_bootstrap_servers, "group.id": "bench"})
    try:
        total = 0
        for part in consumer.list_topics(topic, timeout=30).topics[topic].partitions:
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, part), timeout=30)
            total += high - low
        return total
    finally:
        consumer.close()


def expect_records(settings: Settings, topic: str, count: int) -> None:
    """Check that a topic holds exactly so many records.

    Raises:
        BenchmarkFailed: It does not: what was measured is not what was meant.
    """
    found = count_records(settings, topic)
    if found != count:
        raise BenchmarkFailed(f"Expected {count} records in {topic}, was {found}.")


@dataclass
class Program:
    """A process of a benchmark, its output in a file; ended with the benchmark by its own signal."""

    process: subprocess.Popen[bytes]
    log: Path
    usage: Any = None

    def _has_ended(self, flags: int = os.WNOHANG) -> bool:
        if self.usage is None:
            pid, status, usage = os.wait4(self.process.pid, flags)
            if pid:
                self.usage, self.process.returncode = usage, os.waitstatus_to_exitcode(status)
        return self.usage is not None

    def end(self, timeout_s: float = 90.0) -> int:
        """Ask it to end with SIGTERM, wait, and return its exit code; `usage` then holds its whole resource usage."""
        if not self._has_ended():
            self.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + timeout_s
        while not self._has_ended():
            if time.monotonic() > deadline:
                self.process.kill()
                self._has_ended(0)
            time.sleep(0.05)
        return int(self.process.returncode)

    def said(self) -> str:
        """Return the end of what it wrote."""
        return self.log.read_text(errors="replace")[-2000:]

    def peak_rss_mib(self) -> int:
        """Return the most memory it has held so far; `usage` would tell ours at the fork, when that was more."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) // 1024

    def require_alive(self) -> None:
        """Check that it still runs.

        Raises:
            BenchmarkFailed: It ended.
        """
        if self._has_ended():
            raise BenchmarkFailed(f"{self.log.name} ended with {self.process.returncode}: {self.said()}")


@contextmanager
def program(log: Path, command: list[str], **env: str) -> Iterator[Program]:
    """Run a program until the block ends."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=REPO, env={**os.environ, **env}, stdout=output, stderr=subprocess.STDOUT
        )
    running = Program(process, log)
    try:
        yield running
    finally:
        running.end()


@dataclass(frozen=True)
class Exchange:
    """A running local exchange."""

    address: str
    program: Program

    def get(self, path: str) -> dict[str, Any]:
        """Return one of its JSON documents."""
        answer: dict[str, Any] = httpx.get(f"http://{self.address}{path}", timeout=30).json()
        return answer

    def state(self) -> dict[str, Any]:
        """Return what it plays, and how far it is."""
        return self.get("/tickhouse/state")


@contextmanager
def exchange(bench: Stand, name: str, config: dict[str, Any]) -> Iterator[Exchange]:
    """Run the local exchange with a configuration on its port of this stand."""
    document = bench.file(f"{name}-exchange.yaml")
    document.write_text(yaml.safe_dump(config))
    address = f"127.0.0.1:{ports()['exchange']}"
    command = [sys.executable, "-m", "stack.exchange", "--listen", address, "--config", str(document)]
    with program(bench.file(f"{name}-exchange.log"), command) as running:

        def answers() -> bool:
            running.require_alive()
            return b"exchange on http://" in running.log.read_bytes()

        until(answers, "the exchange to listen", timeout_s=60)
        yield Exchange(address, running)
