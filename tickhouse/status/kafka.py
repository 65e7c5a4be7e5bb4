"""Records, dead letters and consumer lag in Kafka."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from common.errors import ServiceNotReady
from common.settings import REPO, Settings, home
from common.topics import TRADES
from tickhouse.status.section import ANSWER_S, Section, require_answer

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient

TOPICS_FILE = REPO / "schemas" / "topics.yaml"
DEAD_LETTERS = "dlq."

# Offsets by topic and partition.
Offsets = dict[str, dict[int, int]]


@dataclass(frozen=True, slots=True)
class KafkaOffsets:
    """The offsets of our topics and of everyone who reads them, as of one moment.

    Attributes:
        begins: Offset of the oldest kept record, by topic and partition.
        ends: Offset after the newest record.
        consumers: The next offsets of each consumer group, and of each streaming query under
            `stream:<query>`.
        newest_ms: Timestamp of the newest record of each topic that has one.
    """

    begins: Offsets
    ends: Offsets
    consumers: Mapping[str, Offsets]
    newest_ms: Mapping[str, int]

    @property
    def records(self) -> dict[str, int]:
        """Return the number of kept records by topic."""
        return {name: sum(self.ends[name].values()) - sum(self.begins[name].values()) for name in sorted(self.ends)}

    @property
    def dead_letters(self) -> dict[str, int]:
        """Return the number of kept dead letters by topic."""
        return {name: count for name, count in self.records.items() if name.startswith(DEAD_LETTERS)}

    @property
    def lags(self) -> dict[str, int]:
        """Return the lag of each consumer in records."""
        return lag_records(self.ends, self.begins, self.consumers)

    def newest_age_s(self, topic: str) -> float | None:
        """Return the age of the newest record of a topic in seconds."""
        newest = self.newest_ms.get(topic)
        return None if newest is None else round(time.time() - newest / 1000, 1)


def kafka_status(settings: Settings) -> Section:
    """Return records and dead letters by topic, lag by consumer, and the age of the newest trade.

    Raises:
        ServiceNotReady: Kafka does not answer.
    """
    found = kafka_offsets(settings, newest_of=(TRADES,))
    return {
        "records": found.records,
        "dead_letters": found.dead_letters,
        "lag_records": found.lags,
        "newest_trade_age_s": found.newest_age_s(TRADES),
    }


def kafka_offsets(settings: Settings, newest_of: Iterable[str] = ()) -> KafkaOffsets:
    """Return the offsets of our topics and of their consumers.

    Args:
        settings: Addresses.
        newest_of: Topics of which to read the newest timestamp as well.

    Raises:
        ServiceNotReady: Kafka does not answer.
    """
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]  # re-exported without __all__

    from stack.kafka.setup import admin

    require_answer(settings.kafka_bootstrap_servers.split(",")[0], "Kafka", "kafka")
    client = admin(settings.kafka_bootstrap_servers)
    wanted = set(yaml.safe_load(TOPICS_FILE.read_text())["topics"])
    try:
        topics = {
            name: sorted(topic.partitions)
            for name, topic in client.list_topics(timeout=ANSWER_S).topics.items()
            if name in wanted or name.startswith(DEAD_LETTERS)
        }
        ends = _offsets(client, topics, OffsetSpec.latest())  # type: ignore[no-untyped-call]
        begins = _offsets(client, topics, OffsetSpec.earliest())  # type: ignore[no-untyped-call]
        newest = _newest_timestamps(client, {name: topics[name] for name in newest_of if name in topics})
        groups = _group_offsets(client)
    except KafkaException as error:
        raise ServiceNotReady(f"Kafka does not answer: {error}.", next_command="tickhouse logs kafka") from error
    return KafkaOffsets(begins, ends, {**groups, **streaming_offsets(home() / "stream" / "checkpoints")}, newest)


def lag_records(ends: Offsets, begins: Offsets, consumers: Mapping[str, Offsets]) -> dict[str, int]:
    """Return each consumer's lag in records; one without offsets lags by all records (pure)."""
    lags = {}
    for consumer, read in consumers.items():
        known = {topic: partitions for topic, partitions in read.items() if topic in ends}
        lags[consumer] = sum(
            max(0, end - max(partitions.get(partition, 0), begins[topic].get(partition, 0)))
            for topic, partitions in known.items()
            for partition, end in ends[topic].items()
        )
    return lags


def streaming_offsets(checkpoints: Path) -> dict[str, Offsets]:
    """Return the next offsets of each streaming query from its checkpoint's last committed batch.

    A Spark checkpoint has one file per batch in `commits` and in `offsets`. An offsets file has a
    version line, a metadata line, then one JSON line per source.
    """
    by_query = {}
    for query in sorted(checkpoints.glob("*")):
        batches = [int(path.name) for path in (query / "commits").glob("*") if path.name.isdigit()]
        if not batches:
            continue
        path = query / "offsets" / str(max(batches))
        with contextlib.suppress(FileNotFoundError):  # Spark removes those of old batches
            by_query[f"stream:{query.name}"] = _parse_offsets(path.read_text().splitlines()[2:])
    return by_query


def _offsets(client: AdminClient, topics: Mapping[str, Iterable[int]], at: object) -> Offsets:
    offsets: Offsets = {name: {} for name in topics}
    for partition, answer in _list_offsets(client, topics, at):
        offsets[partition.topic][partition.partition] = answer.offset
    return offsets


def _newest_timestamps(client: AdminClient, topics: Mapping[str, Iterable[int]]) -> dict[str, int]:
    from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]  # re-exported without __all__

    newest: dict[str, int] = {}
    for partition, answer in _list_offsets(client, topics, OffsetSpec.max_timestamp()):  # type: ignore[no-untyped-call]
        if answer.timestamp > 0:
            newest[partition.topic] = max(newest.get(partition.topic, 0), answer.timestamp)
    return newest


def _list_offsets(client: AdminClient, topics: Mapping[str, Iterable[int]], at: object) -> list[tuple[Any, Any]]:
    from confluent_kafka import TopicPartition

    requests: dict[Any, Any] = {TopicPartition(name, number): at for name in topics for number in topics[name]}
    if not requests:
        return []
    answers = client.list_offsets(requests, request_timeout=ANSWER_S)
    return [(partition, future.result()) for partition, future in answers.items()]


def _group_offsets(client: AdminClient) -> dict[str, Offsets]:
    from confluent_kafka import ConsumerGroupTopicPartitions

    groups = [group.group_id for group in client.list_consumer_groups(request_timeout=ANSWER_S).result().valid]
    by_group: dict[str, Offsets] = {}
    for group in groups:
        request = [ConsumerGroupTopicPartitions(group)]
        answer = client.list_consumer_group_offsets(request, request_timeout=ANSWER_S)[group].result()
        offsets: Offsets = {}
        for position in answer.topic_partitions or []:
            if position.offset >= 0:
                offsets.setdefault(position.topic, {})[position.partition] = position.offset
        if offsets:
            by_group[group] = offsets
    return by_group


def _parse_offsets(lines: Iterable[str]) -> Offsets:
    sources = [json.loads(line) for line in lines if line.startswith("{")]
    return {
        topic: {int(number): int(offset) for number, offset in partitions.items()}
        for source in sources
        for topic, partitions in source.items()
    }
