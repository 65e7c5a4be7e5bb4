"""Read dead-letter topics."""

from __future__ import annotations

from collections.abc import Iterator

from common.clients.kafka import TopicLog, TopicRecord
from common.errors import ConfigurationError
from tickhouse.dlq.letters import PREFIX, Letter, Place, read


def dead_letter_topics(kafka: TopicLog) -> list[str]:
    """Return the names of all dead-letter topics.

    Raises:
        StoreUnavailable: The broker does not answer.
    """
    return [name for name in kafka.names() if name.startswith(PREFIX)]


def letters(kafka: TopicLog, topic: str, reason: str | None = None) -> Iterator[Letter]:
    """Yield the letters of a topic, of one error class when it is given.

    Raises:
        ConfigurationError: There is no such dead-letter topic; the message lists the existing ones.
        StoreUnavailable: The broker does not answer.
    """
    known = dead_letter_topics(kafka)
    if topic not in known:
        raise ConfigurationError(
            f"Expected a dead-letter topic of {', '.join(known) or 'none yet'}, was {topic!r}.",
            next_command="tickhouse dlq ls",
        )
    for record in kafka.records(topic):
        letter = read(record)
        if reason in (None, letter.reason):
            yield letter


def record_at(kafka: TopicLog, place: Place) -> TopicRecord | None:
    """Return the record at a place; None when the topic no longer keeps it.

    Raises:
        StoreUnavailable: The broker does not answer.
    """
    start, until = {place.partition: place.offset}, {place.partition: place.offset + 1}
    found = kafka.records(place.topic, start, until)
    return next((record for record in found if record.offset == place.offset), None)


def letter_at(kafka: TopicLog, place: Place) -> Letter:
    """Return the letter at a place.

    Raises:
        ConfigurationError: There is no letter at the place.
        StoreUnavailable: The broker does not answer.
    """
    known = dead_letter_topics(kafka)
    record = record_at(kafka, place) if place.topic in known else None
    if record is None:
        raise ConfigurationError(
            f"Expected the place of a dead letter in {', '.join(known)}, was {place}.",
            next_command=f"tickhouse dlq show {place.topic if place.topic in known else 'TOPIC'}",
        )
    return read(record)
