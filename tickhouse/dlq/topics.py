"""Read dead-letter topics."""

from __future__ import annotations

from collections.abc import Iterator

from tickhouse.dlq.letters import PREFIX, Letter, Place, read
from tickhouse.errors import ConfigurationError
from tickhouse.reconcile.kafka import Record, Topics


def dead_letter_topics(topics: Topics) -> list[str]:
    """Return the names of all dead-letter topics.

    Raises:
        StoreUnavailable: The broker does not answer.
    """
    return [name for name in topics.names() if name.startswith(PREFIX)]


def letters(topics: Topics, topic: str, reason: str | None = None) -> Iterator[Letter]:
    """Yield the letters of a topic, of one error class when it is given.

    Raises:
        ConfigurationError: There is no such dead-letter topic; the message lists those that are.
        StoreUnavailable: The broker does not answer.
    """
    known = dead_letter_topics(topics)
    if topic not in known:
        raise ConfigurationError(
            f"Expected a dead-letter topic of {', '.join(known) or 'none yet'}, was {topic!r}.",
            next_command="tickhouse dlq ls",
        )
    for record in topics.scan(topic):
        letter = read(record)
        if reason in (None, letter.reason):
            yield letter


def record_at(topics: Topics, place: Place) -> Record | None:
    """Return the record at a place; None when the topic no longer keeps it.

    Raises:
        StoreUnavailable: The broker does not answer.
    """
    low, high = topics.ends(place.topic).get(place.partition, (0, 0))
    if not low <= place.offset < high:
        return None
    found = topics.scan(place.topic, {place.partition: (place.offset, place.offset + 1)})
    return next((record for record in found if record.offset == place.offset), None)


def letter_at(topics: Topics, place: Place) -> Letter:
    """Return the letter at a place.

    Raises:
        ConfigurationError: There is none.
        StoreUnavailable: The broker does not answer.
    """
    known = dead_letter_topics(topics)
    record = record_at(topics, place) if place.topic in known else None
    if record is None:
        raise ConfigurationError(
            f"Expected the place of a dead letter in {', '.join(known)}, was {place}.",
            next_command=f"tickhouse dlq show {place.topic if place.topic in known else 'TOPIC'}",
        )
    return read(record)
