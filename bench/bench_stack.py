"""The stack of the benchmarks: a temporary home, and services started when first needed."""

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
from common.market_kind import ALLOW_MIXED
from common.polling import poll_until
from common.settings import REPO, Settings, load_settings, ports
from stack.engine.port_owners import listeners

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient

# Below Linux's ports for outgoing connections, and apart from those of other stacks and the tests.
PORT_BASES = range(26_100, 28_000, 100)


@dataclass
class BenchStack:
    """The stack of one run.

    Args:
        home: Its folder of data, logs and secrets.
        is_quick: Use sizes that only test the benchmarks; the figures mean nothing.
    """

    home: Path
    is_quick: bool = False
    started: set[str] = field(default_factory=set)

    def sized(self, full: int, quick: int) -> int:
        """Return the full size, or the quick one in a quick run."""
        return quick if self.is_quick else full

    def up(self, *services: str) -> Settings:
        """Start the named services and what they need, and return the settings."""
        from stack.engine.lifecycle import up

        if missing := [name for name in services if name not in self.started]:
            say(f"    starting {', '.join(missing)}")
            self.started.update(missing)  # before `up`, so that a service that starts halfway is stopped too
            up(services=missing)
        return load_settings()

    def file(self, name: str) -> Path:
        """Return the path of a file of this run."""
        folder = self.home / "bench"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / name


@contextmanager
def temporary_stack(*, is_quick: bool = False) -> Iterator[BenchStack]:
    """Create a temporary home and switch this process to it; stop all services at the end.

    The ports are those of TICKHOUSE_PORT_BASE if it is set, else a free block.
    """
    from stack.engine.lifecycle import down

    temporary = Path(tempfile.mkdtemp(prefix="tickhouse-bench-")).resolve()
    temporary.chmod(0o711)  # PostgreSQL may have to run as `nobody`
    home = temporary / "home"
    before = {name: os.environ.get(name) for name in ("TICKHOUSE_HOME", "TICKHOUSE_PORT_BASE", ALLOW_MIXED)}
    os.environ["TICKHOUSE_HOME"] = str(home)
    os.environ[ALLOW_MIXED] = "1"  # one benchmark plays a market, another replays files
    os.environ.setdefault("TICKHOUSE_PORT_BASE", str(_free_base()))
    ports.cache_clear()
    bench = BenchStack(home, is_quick)
    try:
        yield bench
    finally:
        if bench.started:  # else `up` created no home
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


def wait_for(probe: Callable[[], Any], what: str, *, timeout_s: float, every_s: float = 0.2) -> Any:
    """Call `probe` until it returns something true, and return that.

    Raises:
        BenchmarkFailed: The timeout passed.
    """
    value = poll_until(probe, timeout_s, every_s=every_s)
    if not value:
        raise BenchmarkFailed(f"Waited {timeout_s:g} s for {what}.")
    return value


def empty_topics(settings: Settings) -> None:
    """Recreate every topic of schemas/topics.yaml: the next writer has an empty log and ledger."""
    from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]  # re-exported without __all__

    from schemas import topics
    from stack.kafka.setup import admin

    new = [NewTopic(topic.name, topic.partitions, 1, config=topic.config) for topic in topics().values()]
    _renew(admin(settings.kafka_bootstrap_servers), new)


def renew_topic(settings: Settings, name: str, partitions: int, config: dict[str, str] | None = None) -> None:
    """Recreate one topic."""
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
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:  # the old one is still being deleted
                    raise
                left.append(topic)
        new[:] = [topic for topic in new if topic.topic in left]
        return not new

    wait_for(create, "new topics", timeout_s=60)


def count_records(settings: Settings, topic: str) -> int:
    """Return the number of records in a topic, from its offsets."""
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
    """Check that a topic contains exactly `count` records.

    Raises:
        BenchmarkFailed: It does not, so the measurement is invalid.
    """
    present = count_records(settings, topic)
    if present != count:
        raise BenchmarkFailed(f"Expected {count} records in {topic}, was {present}.")


@dataclass
class BenchProgram:
    """A process of a benchmark with its output in a file; stopped at the end of the benchmark."""

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
        """Send SIGTERM, wait, return the exit code; `usage` is then its whole resource usage."""
        if not self._has_ended():
            self.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + timeout_s
        while not self._has_ended():
            if time.monotonic() > deadline:
                self.process.kill()
                self._has_ended(0)
            time.sleep(0.05)
        return int(self.process.returncode)

    def last_output(self) -> str:
        """Return the end of its output."""
        return self.log.read_text(errors="replace")[-2000:]

    def peak_rss_mib(self) -> int:
        """Return its peak memory so far; `usage` may report ours at the fork instead."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) // 1024

    def require_alive(self) -> None:
        """Check that it still runs.

        Raises:
            BenchmarkFailed: It has ended.
        """
        if self._has_ended():
            raise BenchmarkFailed(f"{self.log.name} ended with {self.process.returncode}: {self.last_output()}")


@contextmanager
def running_program(log: Path, command: list[str], **env: str) -> Iterator[BenchProgram]:
    """Run a program until the block ends."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=REPO, env={**os.environ, **env}, stdout=output, stderr=subprocess.STDOUT
        )
    running = BenchProgram(process, log)
    try:
        yield running
    finally:
        running.end()


@dataclass(frozen=True)
class LocalExchange:
    """A running local exchange."""

    address: str
    program: BenchProgram

    def get(self, path: str) -> dict[str, Any]:
        """Return one of its JSON documents."""
        answer: dict[str, Any] = httpx.get(f"http://{self.address}{path}", timeout=30).json()
        return answer

    def state(self) -> dict[str, Any]:
        """Return its state: what it plays and how far it is."""
        return self.get("/tickhouse/state")


@contextmanager
def local_exchange(bench: BenchStack, name: str, config: dict[str, Any]) -> Iterator[LocalExchange]:
    """Run the local exchange with a configuration, on its port of this stack."""
    document = bench.file(f"{name}-exchange.yaml")
    document.write_text(yaml.safe_dump(config))
    address = f"127.0.0.1:{ports()['exchange']}"
    command = [sys.executable, "-m", "standins.exchange", "--listen", address, "--config", str(document)]
    with running_program(bench.file(f"{name}-exchange.log"), command) as running:

        def answers() -> bool:
            running.require_alive()
            return b"exchange on http://" in running.log.read_bytes()

        wait_for(answers, "the exchange to listen", timeout_s=60)
        yield LocalExchange(address, running)
