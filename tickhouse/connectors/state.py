"""How each connector feels: its state and tasks by the worker, its lag and dead letters by Kafka."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tickhouse.connectors.files import DEAD_LETTERS, read
from tickhouse.connectors.worker import Worker
from tickhouse.errors import ConfigurationError
from tickhouse.settings import Settings

RUNNING = "RUNNING"
FAILED = "FAILED"
ABSENT = "ABSENT"


@dataclass(frozen=True)
class Task:
    """One task; `error` is the first line of what made it fail."""

    number: int
    state: str
    error: str = ""


@dataclass(frozen=True)
class State:
    """One connector. `state` is the worker's word, ABSENT when only a file speaks of it."""

    name: str
    state: str
    tasks: list[Task] = field(default_factory=list)
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
            *(f"  {k} = {v}" for k, v in sorted(self.config.items())),
        ]


def survey(worker: Worker, settings: Settings) -> list[State]:
    """Return the state of every connector, of the files and of the worker, in the order of names.

    Raises:
        ServiceNotReady: The worker or Kafka does not answer.
    """
    from stack.engine.pulse import kafka

    pulse = kafka(settings)
    configs, statuses, files = worker.configs(), worker.statuses(), read()
    return [
        state_of(name, statuses.get(name), configs.get(name) or files[name].config, pulse, has_file=name in files)
        for name in sorted(files.keys() | configs.keys())
    ]


def state_of(
    name: str, status: Mapping[str, Any] | None, config: dict[str, str], pulse: Mapping[str, Any], *, has_file: bool
) -> State:
    """Put one connector's state together (pure)."""
    topics = [topic.strip() for topic in config.get("topics", "").split(",") if topic.strip()]
    letters = int(pulse["dead_letters"].get(config.get(DEAD_LETTERS, ""), 0))
    if status is None:
        return State(name, ABSENT, topics=topics, dead_letters=letters, has_file=has_file, config=config)
    tasks = [Task(int(one["id"]), one["state"], first_line(one.get("trace"))) for one in status["tasks"]]
    connector = status["connector"]
    return State(
        name,
        connector["state"],
        tasks,
        topics,
        # A group that has confirmed nothing yet, or was reset, is in no list: it has everything before it.
        pulse["lag_records"].get(f"connect-{name}", sum(pulse["records"].get(topic, 0) for topic in topics)),
        letters,
        has_file,
        first_line(connector.get("trace")),
        config,
    )


def first_line(trace: str | None) -> str:
    """Return what a stack trace says first: the last cause is the one to know, the first line leads to it."""
    lines = (trace or "").strip().splitlines()
    causes = [line for line in lines if line.startswith("Caused by: ")]
    return (causes[-1].removeprefix("Caused by: ") if causes else lines[0])[:300] if lines else ""


def redelivery(worker: Worker, settings: Settings, name: str) -> str:
    """Say what a reset of the offsets delivers again.

    Raises:
        ConfigurationError: The worker has no such connector.
    """
    from stack.engine.pulse import kafka

    found = {one.name: one for one in survey(worker, settings)}
    if name not in found or found[name].state == ABSENT:
        raise ConfigurationError(
            f"Expected a connector that runs, was {name!r}.", next_command="tickhouse connectors ls"
        )
    records = kafka(settings)["records"]
    topics = ", ".join(f"{records.get(topic, 0):,} of {topic}" for topic in found[name].topics)
    return (
        f"{name} will read again, from the beginning: {topics} "
        f"({found[name].lag_records or 0:,} of them it has not read yet). Every write is an upsert by event id, so the "
        "store does not change; records that it refuses are dead letters once more."
    )
