"""Retention of Kafka: set the topics' configuration as declared; the broker removes old records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import yaml

from common.errors import StoreUnavailable
from common.settings import Settings
from tickhouse.retention.declaration import TOPICS_FILE
from tickhouse.retention.folder_size import folder_bytes
from tickhouse.retention.policy import Step, StorePlan, store_plan

ANSWER_S = 15.0
DEAD_LETTERS = "dlq."


@dataclass(frozen=True)
class KafkaTopics:
    """Retention of Kafka."""

    settings: Settings
    store: str = "kafka"
    declared: str = "each topic as declared in schemas/topics.yaml"

    def plan(self, now: datetime) -> StorePlan:
        """Return the topic settings that differ from `schemas/topics.yaml`.

        Raises:
            StoreUnavailable: Kafka does not answer.
        """
        wanted = declared_configs()
        present = self._configs(wanted)
        steps = [
            Step("set", f"{topic}: {key}", f"was {present[topic].get(key)}, declared is {value}")
            for topic in sorted(present)
            for key, value in config_of(topic, wanted).items()
            if present[topic].get(key) != value
        ]
        return store_plan(self, steps, bytes=folder_bytes(self.settings.home / "data" / "kafka"))

    def do(self, step: Step, now: datetime) -> None:
        """Set one setting of a topic as declared.

        Raises:
            StoreUnavailable: Kafka does not answer, or refuses.
        """
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import (  # type: ignore[attr-defined]  # re-exported without __all__
            AlterConfigOpType,
            ConfigEntry,
            ConfigResource,
            ResourceType,
        )

        topic, _, key = step.item.partition(": ")
        value = config_of(topic, declared_configs())[key]
        entry = ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
        try:
            for future in self._admin().incremental_alter_configs([resource], request_timeout=ANSWER_S).values():
                future.result()
        except KafkaException as error:
            raise _unavailable(error) from error

    def _configs(self, wanted: Mapping[str, Any]) -> dict[str, dict[str, str]]:
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import ConfigResource, ResourceType  # type: ignore[attr-defined]

        try:
            client = self._admin()
            present = client.list_topics(timeout=ANSWER_S).topics
            names = [name for name in present if name in wanted["topics"] or name.startswith(DEAD_LETTERS)]
            asked = [ConfigResource(ResourceType.TOPIC, name) for name in names]
            answers = client.describe_configs(asked, request_timeout=ANSWER_S) if asked else {}
            return {
                resource.name: {key: entry.value for key, entry in future.result().items()}
                for resource, future in answers.items()
            }
        except KafkaException as error:
            raise _unavailable(error) from error

    def _admin(self) -> Any:
        from stack.kafka.setup import admin

        return admin(self.settings.kafka_bootstrap_servers)


def declared_configs() -> dict[str, Any]:
    """Return `schemas/topics.yaml`."""
    document: dict[str, Any] = yaml.safe_load(TOPICS_FILE.read_text())
    return document


def config_of(topic: str, wanted: Mapping[str, Any]) -> dict[str, str]:
    """Return a topic's declared settings; all connector dead letters share one entry (pure)."""
    if topic in wanted["topics"]:
        return dict(wanted["topics"][topic].get("config", {}))
    return dict(wanted["connector_dead_letters"]["config"])


def _unavailable(error: Exception) -> StoreUnavailable:
    return StoreUnavailable(f"Kafka does not answer: {error}.", next_command="tickhouse logs kafka")
