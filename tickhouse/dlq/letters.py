"""A dead letter as one thing, whoever wrote it: the producer, Spark, or a Kafka Connect sink.

The producer's letters hold the exchange's frame. Those of Spark and Connect hold the value of a Kafka record, and say
where that record is. Connect's headers: KIP-298, `org.apache.kafka.connect.runtime.errors.DeadLetterQueueReporter`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from tickhouse.errors import ConfigurationError
from tickhouse.reconcile.kafka import Record

PREFIX = "dlq."
CONNECT = "__connect.errors."
# The value's beginning in lists; a frame of the exchange is a few hundred bytes.
PREVIEW_BYTES = 120

Writer = Literal["producer", "spark", "connect", "unknown"]
_PLACE = re.compile(r"([^:\s]+):([0-9]+):([0-9]+)")


class Place(NamedTuple):
    """Where a record is; as text `topic:partition:offset`."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}:{self.partition}:{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Place:
        """Read a place.

        Raises:
            ConfigurationError: The text is none.
        """
        match = _PLACE.fullmatch(text)
        if match is None:
            raise ConfigurationError(
                f"Expected TOPIC:PARTITION:OFFSET, was {text!r}.", next_command="tickhouse dlq show TOPIC"
            )
        return cls(match[1], int(match[2]), int(match[3]))


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter.

    Attributes:
        place: Where the letter is.
        at_ms: When it was written (ms since 1970).
        key: Key of the letter.
        value: The record or frame that was refused, byte for byte.
        headers: As written.
        writer: Who refused it.
        reason: The error class by which letters are grouped.
        detail: What was expected and what was there.
        source: The Kafka record that was refused; None for a frame of the exchange.
    """

    place: Place
    at_ms: int
    key: bytes | None
    value: bytes | None
    headers: Mapping[str, str]
    writer: Writer
    reason: str
    detail: str
    source: Place | None

    def document(self) -> dict[str, Any]:
        """Return the letter as JSON-ready values; bytes that are no text are shown as Python writes them."""
        value = self.value or b""
        return {
            "place": str(self.place),
            "at_ms": self.at_ms,
            "writer": self.writer,
            "reason": self.reason,
            "detail": self.detail,
            "source": None if self.source is None else str(self.source),
            "key": None if self.key is None else text_of(self.key),
            "bytes": len(value),
            "preview": text_of(value[:PREVIEW_BYTES]),
            "headers": dict(self.headers),
        }


def text_of(value: bytes) -> str:
    """Return bytes as text when they are text, else as Python writes them."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return repr(value)
    return text if text.isprintable() else repr(value)


def read(record: Record) -> Letter:
    """Return the dead letter in a record of a dead-letter topic."""
    headers = record.headers
    writer, reason, detail, source = _unknown(headers)
    if f"{CONNECT}topic" in headers:
        writer, reason, detail, source = _connect(headers)
    elif {"topic", "partition", "offset", "reason"} <= headers.keys():
        writer, reason, detail, source = _spark(headers)
    elif {"source", "market", "reason"} <= headers.keys():
        writer, reason, detail = "producer", headers["reason"], headers.get("detail", "")
    place = Place(*record.place)
    return Letter(place, record.timestamp_ms, record.key, record.value, headers, writer, reason, detail, source)


_Facts = tuple[Writer, str, str, "Place | None"]


def _unknown(headers: Mapping[str, str]) -> _Facts:
    return "unknown", "unknown_letter", f"Expected headers of a dead letter, was {sorted(headers)}", None


def _spark(headers: Mapping[str, str]) -> _Facts:
    place = _place(headers, "")
    return "spark", headers["reason"], headers.get("detail", ""), place


def _connect(headers: Mapping[str, str]) -> _Facts:
    """Group by where in the sink it failed and by the class of the error, e.g. `value_converter:DataException`."""
    stage = headers.get(f"{CONNECT}stage", "unknown_stage").lower()
    error = headers.get(f"{CONNECT}exception.class.name", "unknown error").rpartition(".")[2]
    return "connect", f"{stage}:{error}", headers.get(f"{CONNECT}exception.message", ""), _place(headers, CONNECT)


def _place(headers: Mapping[str, str], prefix: str) -> Place | None:
    numbers = [headers.get(f"{prefix}{name}", "") for name in ("partition", "offset")]
    if not all(number.isdecimal() for number in numbers):
        return None
    return Place(headers[f"{prefix}topic"], int(numbers[0]), int(numbers[1]))


@dataclass
class Group:
    """Letters of one topic and error class."""

    topic: str
    reason: str
    letters: int = 0
    redriven: int = 0
    first_ms: int = 0
    last_ms: int = 0
    example: str = ""
    writers: set[str] = field(default_factory=set)

    def add(self, letter: Letter, *, is_redriven: bool) -> None:
        """Count one letter."""
        self.first_ms = min(self.first_ms or letter.at_ms, letter.at_ms)
        self.last_ms = max(self.last_ms, letter.at_ms)
        self.example = self.example or str(letter.place)
        self.letters += 1
        self.redriven += is_redriven
        self.writers.add(letter.writer)

    def document(self) -> dict[str, Any]:
        """Return the group as JSON-ready values."""
        return {
            "topic": self.topic,
            "reason": self.reason,
            "writer": ", ".join(sorted(self.writers)),
            "letters": self.letters,
            "redriven": self.redriven,
            "first_ms": self.first_ms,
            "last_ms": self.last_ms,
            "example": self.example,
        }


def grouped(letters: Iterable[Letter], redriven: frozenset[Place]) -> list[Group]:
    """Return letters by topic and error class, in that order.

    Args:
        letters: In any order.
        redriven: Places of letters that were sent again.
    """
    groups: dict[tuple[str, str], Group] = {}
    for letter in letters:
        name = letter.place.topic, letter.reason
        group = groups.setdefault(name, Group(*name))
        group.add(letter, is_redriven=letter.place in redriven)
    return [groups[name] for name in sorted(groups)]
