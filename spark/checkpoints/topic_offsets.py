"""Read the state of topics from Kafka: ids, and first and next offset of each partition."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from confluent_kafka import KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]  # re-exported without __all__

from common.errors import ServiceNotReady
from spark.checkpoints.start_offsets import TopicState

TIMEOUT_S = 5.0
# While Kafka is down, five queries ask one after the other. Waiting once is enough for all of them.
REMEMBER_S = 5.0


class TopicReader:
    """Reads the state of topics over one connection to the broker."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._servers = bootstrap_servers
        self._client: AdminClient | None = None
        self._failure: ServiceNotReady | None = None
        self._failed_at = 0.0

    def ids(self, names: Iterable[str]) -> dict[str, str]:
        """Return Kafka's id of each topic.

        A topic that is deleted and created again has another one.

        Raises:
            ServiceNotReady: Kafka does not answer, or has no such topic.
        """
        try:
            answers = self._admin().describe_topics(TopicCollection(list(names)), request_timeout=TIMEOUT_S)
            return {name: str(future.result().topic_id) for name, future in answers.items()}
        except (KafkaException, ValueError) as error:
            raise self._unavailable(error) from error

    def topics(self, names: Iterable[str]) -> dict[str, TopicState]:
        """Return each topic as it is now.

        Raises:
            ServiceNotReady: Kafka does not answer, or has no such topic.
        """
        wanted = sorted(set(names))
        try:
            answers = self._admin().describe_topics(TopicCollection(wanted), request_timeout=TIMEOUT_S)
            described = {name: future.result() for name, future in answers.items()}
            parts_of = {name: [part.id for part in topic.partitions] for name, topic in described.items()}
            parts = [(name, part) for name in described for part in parts_of[name]]
            begins = self._offsets(parts, OffsetSpec.earliest())  # type: ignore[no-untyped-call]
            ends = self._offsets(parts, OffsetSpec.latest())  # type: ignore[no-untyped-call]
        except (KafkaException, ValueError) as error:
            raise self._unavailable(error) from error
        return {
            name: TopicState(
                name, str(topic.topic_id), {part: (begins[name, part], ends[name, part]) for part in parts_of[name]}
            )
            for name, topic in described.items()
        }

    def _offsets(self, parts: Iterable[tuple[str, int]], at: object) -> Mapping[tuple[str, int], int]:
        wanted = {TopicPartition(name, part): at for name, part in parts}
        answers = self._admin().list_offsets(wanted, request_timeout=TIMEOUT_S)  # type: ignore[arg-type]
        return {(part.topic, part.partition): future.result().offset for part, future in answers.items()}

    def _admin(self) -> AdminClient:
        if self._failure is not None and time.monotonic() - self._failed_at < REMEMBER_S:
            raise self._failure
        self._failure = None
        if self._client is None:
            self._client = AdminClient({"bootstrap.servers": self._servers, "log_level": 0})
        return self._client

    def _unavailable(self, error: Exception) -> ServiceNotReady:
        self._failed_at = time.monotonic()
        self._failure = ServiceNotReady(
            f"Kafka at {self._servers} did not return the offsets of its topics: {error}.",
            safe="No query was started; the checkpoints are unchanged.",
            next_command="tickhouse status",
        )
        return self._failure
