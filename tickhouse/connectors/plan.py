"""Compare the connector files with the worker, and apply the files to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from common.clients.connect import Worker
from common.errors import ConfigurationError, ServiceNotReady
from common.settings import Settings
from tickhouse.connectors.files import Connector

Action = Literal["create", "update", "none", "unknown"]


class KeyDifference(NamedTuple):
    """One key of a configuration in the worker and in the file; None where it is missing."""

    key: str
    found: str | None
    wanted: str | None


@dataclass(frozen=True)
class ConnectorChange:
    """What `apply` would do with one connector.

    `unknown` is a connector that runs and has no file: it is drift, and only `delete` changes it.
    `faults` are the errors of the worker's own validation of the file, by key.
    """

    name: str
    action: Action
    differences: list[KeyDifference] = field(default_factory=list)
    faults: dict[str, list[str]] = field(default_factory=dict)

    @property
    def is_drift(self) -> bool:
        """Return whether file and worker differ."""
        return self.action != "none"

    def document(self) -> dict[str, Any]:
        """Return the change as JSON-ready values."""
        differences = [one._asdict() for one in self.differences]
        return {"name": self.name, "action": self.action, "differences": differences, "faults": self.faults}


def compare(
    wanted: Mapping[str, Connector], found: Mapping[str, Mapping[str, str]], *, is_whole: bool
) -> list[ConnectorChange]:
    """Return the change of each connector, in the order of names.

    Args:
        wanted: The connectors of the files, by name.
        found: The configurations of the worker, by name.
        is_whole: Whether `wanted` are all files, so that other running connectors are unknown.
    """
    changes = [_change(connector, found.get(name)) for name, connector in wanted.items()]
    extra = found.keys() - wanted.keys() if is_whole else set()
    return sorted([*changes, *(ConnectorChange(name, "unknown") for name in extra)], key=lambda change: change.name)


def _change(connector: Connector, found: Mapping[str, str] | None) -> ConnectorChange:
    if found is None:
        return ConnectorChange(connector.name, "create", differences({}, connector.config))
    found_differences = differences(found, connector.config)
    return ConnectorChange(connector.name, "update" if found_differences else "none", found_differences)


def differences(found: Mapping[str, str], wanted: Mapping[str, str]) -> list[KeyDifference]:
    """Return the keys that differ, in the order of names."""
    keys = sorted(found.keys() | wanted.keys())
    return [KeyDifference(key, found.get(key), wanted.get(key)) for key in keys if found.get(key) != wanted.get(key)]


def plan(worker: Worker, wanted: Mapping[str, Connector], *, is_whole: bool) -> list[ConnectorChange]:
    """Compare the files with the worker, which also validates every file.

    Raises:
        ServiceNotReady: The worker does not answer.
    """
    changes = compare(wanted, worker.configs(), is_whole=is_whole)
    return [
        ConnectorChange(one.name, one.action, one.differences, worker.config_errors(one.name, wanted[one.name].config))
        if one.name in wanted
        else one
        for one in changes
    ]


def apply(worker: Worker, settings: Settings, wanted: Mapping[str, Connector]) -> list[ConnectorChange]:
    """Apply the files to the worker; connectors that are equal to their file are not changed.

    The dead-letter topics are made first: Connect would make them with another retention.

    Raises:
        ConfigurationError: The worker's validation finds a fault; nothing was changed then.
        ServiceNotReady: Worker or Kafka does not answer.
    """
    changes = plan(worker, wanted, is_whole=False)
    faulty = {change.name: change.faults for change in changes if change.faults}
    if faulty:
        raise ConfigurationError(
            f"The worker refuses {faults_text(faulty)}",
            safe="Nothing was changed.",
            next_command="tickhouse connectors plan",
        )
    make_dead_letter_topics(settings, [connector.dead_letters for connector in wanted.values()])
    for change in changes:
        if change.is_drift:
            worker.put(change.name, wanted[change.name].config)
    return changes


def faults_text(faulty: Mapping[str, Mapping[str, list[str]]]) -> str:
    """Return faults by connector and key as one line."""
    return "; ".join(
        f"{name}: {key}: {' '.join(errors)}" for name, faults in faulty.items() for key, errors in faults.items()
    )


def make_dead_letter_topics(settings: Settings, names: list[str]) -> None:
    """Make the missing dead-letter topics with the settings in `schemas/topics.yaml`.

    Raises:
        ServiceNotReady: Kafka does not answer.
    """
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]  # re-exported without __all__

    from schemas.loading import connector_dead_letters
    from stack.kafka.setup import ADMIN_S, admin

    like = connector_dead_letters()
    client = admin(settings.kafka_bootstrap_servers)
    try:
        present = client.list_topics(timeout=ADMIN_S).topics
        missing = [NewTopic(name, like.partitions, config=like.config) for name in names if name not in present]
        for future in (client.create_topics(missing) if missing else {}).values():
            future.result()
    except KafkaException as error:
        raise ServiceNotReady(f"Kafka did not make the dead-letter topics: {error}.") from error
