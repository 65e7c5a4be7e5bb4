"""Hooks of Kafka: format the storage, readiness, the topics of `schemas/topics.yaml`."""

from __future__ import annotations

import logging
import subprocess
import uuid
from base64 import urlsafe_b64encode
from typing import TYPE_CHECKING, Any

import yaml

from common.errors import ConfigurationError, ServiceNotReady
from common.settings import REPO
from stack.engine.context import ServiceContext
from stack.engine.fetch import java_program

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient

TOPICS_FILE = REPO / "schemas" / "topics.yaml"

ADMIN_S = 30.0
PROBE_S = 3.0

# For Kafka's short-lived tools: no C2 compiler and no parallel garbage collector.
TOOL_FLAGS = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")


def format_storage(context: ServiceContext) -> None:
    """Write the cluster id into an empty log folder; a formatted folder is not changed.

    Raises:
        ServiceNotReady: The tool failed; the message holds its output.
    """
    if (context.data / "log" / "meta.properties").exists():
        return
    conf = context.conf / "server.properties"
    # A Kafka cluster id is a UUID in URL-safe base64. We generate it here, because Kafka's tool for
    # it would start another JVM.
    cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").lstrip("-")
    tool = ["kafka.tools.StorageTool", "format", "--ignore-formatted", "-t", cluster, "-c", str(conf)]
    run_tool(context, tool)


def run_tool(context: ServiceContext, arguments: list[str]) -> None:
    """Run one of Kafka's command line classes with the broker's class path.

    Raises:
        ServiceNotReady: It failed; the message holds its output.
    """
    command = [str(java_program()), *TOOL_FLAGS, "-cp", f"{context.fetched['libs']}/*", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=context.env())
    if done.returncode != 0:
        raise ServiceNotReady(f"{arguments[0]} failed: {done.stdout}{done.stderr}", next_command="tickhouse doctor")


def is_ready(context: ServiceContext) -> bool:
    """Return whether the broker responds to a metadata request."""
    from confluent_kafka import KafkaException

    from stack.engine.probe import accepts_connections

    address = context.settings.kafka_bootstrap_servers
    if not accepts_connections(address.split(",")[0]):  # on a closed port a client logs errors and waits
        return False
    try:
        return bool(admin(address).list_topics(timeout=PROBE_S).brokers)
    except KafkaException:
        return False


def create_topics(context: ServiceContext) -> None:
    """Create the missing topics and apply the settings of the file to the others.

    Raises:
        ConfigurationError: A topic exists with another number of partitions. Changing it would move
            keys between partitions.
        ServiceNotReady: The broker refused a change.
    """
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]  # re-exported without __all__

    wanted: dict[str, dict[str, Any]] = yaml.safe_load(TOPICS_FILE.read_text())["topics"]
    client = admin(context.settings.kafka_bootstrap_servers)
    try:
        present = client.list_topics(timeout=ADMIN_S).topics
        _refuse_other_partitions(wanted, {name: len(topic.partitions) for name, topic in present.items()})
        missing = [
            NewTopic(name, num_partitions=topic["partitions"], config=topic.get("config", {}))
            for name, topic in wanted.items()
            if name not in present
        ]
        for future in (client.create_topics(missing, operation_timeout=ADMIN_S) if missing else {}).values():
            future.result()
        _apply_config(client, {name: wanted[name].get("config", {}) for name in wanted if name in present})
    except KafkaException as error:
        message = f"Kafka did not create the topics: {error}."
        raise ServiceNotReady(message, next_command="tickhouse logs kafka") from error


def _refuse_other_partitions(wanted: dict[str, dict[str, Any]], present: dict[str, int]) -> None:
    for name, topic in wanted.items():
        if present.get(name, topic["partitions"]) != topic["partitions"]:
            raise ConfigurationError(
                f"Topic {name}: expected {topic['partitions']} partitions, was {present[name]}.",
                safe="Nothing was changed.",
                next_command="restore the number in schemas/topics.yaml",
            )


def _apply_config(client: AdminClient, configs: dict[str, dict[str, str]]) -> None:
    from confluent_kafka.admin import (  # type: ignore[attr-defined]  # re-exported without __all__
        AlterConfigOpType,
        ConfigEntry,
        ConfigResource,
        ResourceType,
    )

    resources = [
        ConfigResource(
            ResourceType.TOPIC,
            name,
            incremental_configs=[
                ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET) for key, value in config.items()
            ],
        )
        for name, config in configs.items()
        if config
    ]
    if resources:
        for future in client.incremental_alter_configs(resources, request_timeout=ADMIN_S).values():
            future.result()


def admin(address: str) -> AdminClient:
    """Return an admin client; it connects at its first request."""
    from confluent_kafka.admin import AdminClient

    # With a logger of its own, librdkafka does not write "connection refused" to standard error.
    return AdminClient({"bootstrap.servers": address, "log_level": 0}, logger=logging.getLogger("tickhouse.kafka"))
