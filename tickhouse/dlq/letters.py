"""Dead letters of the producer, Spark and Kafka Connect in one form.

A letter of the producer holds the exchange's frame. A letter of Spark or Connect holds the value
of a Kafka record, and its headers say where that record is. Connect's headers: KIP-298,
`org.apache.kafka.connect.runtime.errors.DeadLetterQueueReporter`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from common.clients.kafka import TopicRecord
from common.errors import ConfigurationError

PREFIX = "dlq."
CONNECT = "__connect.errors."
# How much of the value lists show; a frame of the exchange is a few hundred bytes.
PREVIEW_BYTES = 120

Writer = Literal["producer", "spark", "connect", "unknown"]
_PLACE = re.compile(r"([^:\s]+):([0-9]+):([0-9]+)")


class Place(NamedTuple):
    """The place of a record; as text `topic:partition:offset`."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}:{self.partition}:{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Place:
        """Read a place.

        Raises:
            ConfigurationError: The text is not a place.
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
        place: Place of the letter.
        at_ms: When it was written, in ms since 1970.
        key: Key of the letter.
        value: The refused record or frame, byte for byte.
        headers: As written.
        writer: What refused the record.
        reason: The error class by which letters are grouped.
        detail: What was expected and what was there.
        source: Place of the refused Kafka record; None for a frame of the exchange.
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
        """Return the letter as JSON-ready values.

        Bytes that are not text are shown as a Python literal.
        """
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
    """Return bytes as text if they are printable text, else as a Python literal."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return repr(value)
    return text if text.isprintable() else repr(value)


def read(record: TopicRecord) -> Letter:
    """Return the dead letter in a record of a dead-letter topic."""
    fields = _read_headers(record.headers)
    return Letter(
        place=Place(*record.place),
        at_ms=record.timestamp_ms,
        key=record.key,
        value=record.value,
        headers=record.headers,
        writer=fields.writer,
        reason=fields.reason,
        detail=fields.detail,
        source=fields.source,
    )


class _HeaderFields(NamedTuple):
    """The attributes of `Letter` that come from its headers."""

    writer: Writer
    reason: str
    detail: str
    source: Place | None = None


def _read_headers(headers: Mapping[str, str]) -> _HeaderFields:
    # Connect first: a record that was sent again keeps the headers that it had.
    if f"{CONNECT}topic" in headers:
        return _read_connect_headers(headers)
    if {"topic", "partition", "offset", "reason"} <= headers.keys():
        return _HeaderFields("spark", headers["reason"], headers.get("detail", ""), _source_place(headers, ""))
    if {"source", "market", "reason"} <= headers.keys():
        return _HeaderFields("producer", headers["reason"], headers.get("detail", ""))
    return _HeaderFields("unknown", "unknown_letter", f"Expected headers of a dead letter, was {sorted(headers)}")


def _read_connect_headers(headers: Mapping[str, str]) -> _HeaderFields:
    """Return the fields of a connector's letter; its reason is `<stage>:<error class>`."""
    stage = headers.get(f"{CONNECT}stage", "unknown_stage").lower()
    error = headers.get(f"{CONNECT}exception.class.name", "unknown error").rpartition(".")[2]
    detail = headers.get(f"{CONNECT}exception.message", "")
    return _HeaderFields("connect", f"{stage}:{error}", detail, _source_place(headers, CONNECT))


def _source_place(headers: Mapping[str, str], prefix: str) -> Place | None:
    numbers = [headers.get(f"{prefix}{name}", "") for name in ("partition", "offset")]
    if not all(number.isdecimal() for number in numbers):
        return None
    return Place(headers[f"{prefix}topic"], int(numbers[0]), int(numbers[1]))


@dataclass
class LetterGroup:
    """The number of letters of one topic and error class."""

    topic: str
    reason: str
    letters: int = 0
    redriven: int = 0
    resolved: int = 0
    first_ms: int = 0
    last_ms: int = 0
    example: str = ""
    writers: set[str] = field(default_factory=set)

    def add(self, letter: Letter, *, is_redriven: bool, is_resolved: bool = False) -> None:
        """Count one letter."""
        self.first_ms = min(self.first_ms or letter.at_ms, letter.at_ms)
        self.last_ms = max(self.last_ms, letter.at_ms)
        self.example = self.example or str(letter.place)
        self.letters += 1
        self.redriven += is_redriven
        self.resolved += is_resolved
        self.writers.add(letter.writer)

    def document(self) -> dict[str, Any]:
        """Return the group as JSON-ready values."""
        return {
            "topic": self.topic,
            "reason": self.reason,
            "writer": ", ".join(sorted(self.writers)),
            "letters": self.letters,
            "redriven": self.redriven,
            "resolved": self.resolved,
            "first_ms": self.first_ms,
            "last_ms": self.last_ms,
            "example": self.example,
        }


def grouped(
    letters: Iterable[Letter], redriven: frozenset[Place], is_resolved: Callable[[Letter], bool] = lambda _: False
) -> list[LetterGroup]:
    """Return letters by topic and error class, in that order.

    Args:
        letters: In any order.
        redriven: Places of letters that were sent again.
        is_resolved: Returns whether the id of a letter is delivered.
    """
    groups: dict[tuple[str, str], LetterGroup] = {}
    for letter in letters:
        name = letter.place.topic, letter.reason
        group = groups.setdefault(name, LetterGroup(*name))
        group.add(letter, is_redriven=letter.place in redriven, is_resolved=is_resolved(letter))
    return [groups[name] for name in sorted(groups)]
