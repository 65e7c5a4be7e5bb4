"""The state of each connector: state and tasks from the worker, lag and dead letters from Kafka."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from common.clients.connect import Worker
from common.errors import ConfigurationError
from common.settings import Settings
from tickhouse.connectors.files import DEAD_LETTERS, read

RUNNING = "RUNNING"
FAILED = "FAILED"
ABSENT = "ABSENT"


@dataclass(frozen=True)
class ConnectorTask:
    """One task; `error` is the first line of its failure."""

    number: int
    state: str
    error: str = ""


@dataclass(frozen=True)
class ConnectorState:
    """One connector; `state` is the worker's, or ABSENT when the worker has no such connector."""

    name: str
    state: str
    tasks: list[ConnectorTask] = field(default_factory=list)
    topics: list[str] = field(default_factory=list)
    lag_records: int | None = None
    dead_letters: int = 0
    has_file: bool = True
    error: str = ""
    config: dict[str, str] = field(default_factory=dict)

    @property
    def tasks_running(self) -> int:
        """Return how many tasks run."""
        return sum(task.state == RUNNING for task in self.tasks)

    @property
    def has_failed(self) -> bool:
        """Return whether the connector or a task of it has failed."""
        return self.state == FAILED or any(task.state == FAILED for task in self.tasks)

    def document(self) -> dict[str, Any]:
        """Return the state as JSON-ready values."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Return the state for people."""
        lag = "unknown" if self.lag_records is None else f"{self.lag_records:,}"
        head = [f"{self.name}: {self.state}", f"records yet to read: {lag}", f"dead letters: {self.dead_letters:,}"]
        tasks = [f"task {task.number}: {task.state} {task.error}".rstrip() for task in self.tasks]
        return [
            *head,
            *([self.error] if self.error else []),
            *tasks,
            *(f"  {key} = {value}" for key, value in sorted(self.config.items())),
        ]


def survey(worker: Worker, settings: Settings) -> list[ConnectorState]:
    """Return the state of every connector, of the files and of the worker, in the order of names.

    Raises:
        ServiceNotReady: The worker or Kafka does not answer.
    """
    from tickhouse.status.kafka import kafka_status

    kafka_state = kafka_status(settings)
    configs, statuses, files = worker.configs(), worker.statuses(), read()
    return [
        state_of(name, statuses.get(name), configs.get(name) or files[name].config, kafka_state, has_file=name in files)
        for name in sorted(files.keys() | configs.keys())
    ]


def state_of(
    name: str,
    status: Mapping[str, Any] | None,
    config: dict[str, str],
    kafka_state: Mapping[str, Any],
    *,
    has_file: bool,
) -> ConnectorState:
    """Return the state of one connector (pure)."""
    topics = [topic.strip() for topic in config.get("topics", "").split(",") if topic.strip()]
    letters = int(kafka_state["dead_letters"].get(config.get(DEAD_LETTERS, ""), 0))
    if status is None:
        return ConnectorState(name, ABSENT, topics=topics, dead_letters=letters, has_file=has_file, config=config)
    tasks = [
        ConnectorTask(int(task["id"]), task["state"], failure_summary(task.get("trace"))) for task in status["tasks"]
    ]
    connector = status["connector"]
    return ConnectorState(
        name,
        connector["state"],
        tasks,
        topics,
        # A group without committed offsets (new, or reset) has no lag in Kafka: it has still to
        # read everything.
        kafka_state["lag_records"].get(
            f"connect-{name}", sum(kafka_state["records"].get(topic, 0) for topic in topics)
        ),
        letters,
        has_file,
        failure_summary(connector.get("trace")),
        config,
    )


def failure_summary(trace: str | None) -> str:
    """Return the last cause in a stack trace, or its first line when it names no cause."""
    lines = (trace or "").strip().splitlines()
    causes = [line for line in lines if line.startswith("Caused by: ")]
    summary = causes[-1].removeprefix("Caused by: ") if causes else "".join(lines[:1])
    return summary[:300]


def redelivery(worker: Worker, settings: Settings, name: str) -> str:
    """Return a text about the records that a reset of the offsets delivers again.

    Raises:
        ConfigurationError: The worker has no such connector.
    """
    from tickhouse.status.kafka import kafka_status

    found = {one.name: one for one in survey(worker, settings)}
    if name not in found or found[name].state == ABSENT:
        raise ConfigurationError(
            f"Expected a connector that runs, was {name!r}.", next_command="tickhouse connectors ls"
        )
    records = kafka_status(settings)["records"]
    topics = ", ".join(f"{records.get(topic, 0):,} of {topic}" for topic in found[name].topics)
    return (
        f"{name} will read again, from the beginning: {topics} "
        f"({found[name].lag_records or 0:,} of them it has not read yet). Every write is an upsert by event id, so the "
        "store does not change; records that it refuses become dead letters again."
    )
