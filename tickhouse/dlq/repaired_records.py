"""Build the record to send again from a dead letter; its event id stays the same.

A letter of the producer holds a frame: it is parsed again with today's code and encoded as the
producer does it. A letter of Spark or Connect holds the value of a Kafka record: the same bytes go
back to its topic under the same key.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass

from common.clients.avro import AvroDecoder, Undecodable
from common.clients.kafka import TopicRecord
from common.errors import ConfigurationError, RejectedRecord
from common.market_kind import SIMULATED
from common.topics import TICKS, TRADES
from producer.encoding.events import Encoder
from producer.events import Tick, Trade, check_market, check_symbol, event_prefix, record_key
from producer.parsing.frames import parse_frame
from tickhouse.dlq.letters import Letter, Place

SchemaId = Callable[[str], int]
"""Returns the registry's id of our schema by topic."""


@dataclass(frozen=True, slots=True)
class RepairedRecord:
    """A record to send again."""

    topic: str
    key: bytes | None
    value: bytes | None
    event_id: str | None

    @property
    def fingerprint(self) -> str:
        """Return the sha256 of topic, key and value, each after its length.

        All letters of one record have the same fingerprint.
        """
        digest = hashlib.sha256()
        for part in (self.topic.encode(), self.key or b"", self.value or b""):
            digest.update(struct.pack(">Q", len(part)) + part)
        return digest.hexdigest()


def from_frame(letter: Letter, schema_id: SchemaId) -> RepairedRecord:
    """Return the trade or tick in a frame that the producer refused.

    Raises:
        RejectedRecord: The frame is still refused, or it came from a file or by REST. Then replay
            the file, or request the ids from REST again.
    """
    if letter.headers["source"] not in ("WEBSOCKET", SIMULATED):
        raise RejectedRecord(
            "not_a_frame",
            f"Expected a WebSocket frame, was {letter.headers.get('position', 'a line')}: replay its file",
        )
    text = _text(letter)
    event = parse_frame(text)
    if not isinstance(event, Trade | Tick):
        raise RejectedRecord("not_an_event", f"Expected one trade or ticker, was {type(event).__name__}")
    check_symbol(event.symbol)
    market, received_us = _market(letter), int(letter.headers["received_at_us"])
    encoder = Encoder(market, trade_schema_id=schema_id(TRADES), tick_schema_id=schema_id(TICKS))
    prefix = event_prefix(market, event.symbol, event.stream)
    key = record_key(market, event.symbol)
    if isinstance(event, Tick):
        value = encoder.tick(event, received_us, letter.headers["source"], text)
        return RepairedRecord(TICKS, key, value, f"{prefix}{event.exchange_id}")
    event_id = f"{prefix}{event.trade_id}"
    encode = encoder.trades(event.symbol, event.stream, letter.headers["source"])
    return RepairedRecord(TRADES, key, encode(event_id, event, received_us, text.encode()), event_id)


def _text(letter: Letter) -> str:
    if "cut_from_bytes" in letter.headers:
        raise RejectedRecord(
            "truncated", f"The letter holds only the beginning of {letter.headers['cut_from_bytes']} bytes"
        )
    try:
        return (letter.value or b"").decode()
    except UnicodeDecodeError as error:
        raise RejectedRecord("not_utf8", str(error)) from error


def _market(letter: Letter) -> str:
    try:
        return check_market(letter.headers["market"])
    except ConfigurationError as error:
        raise RejectedRecord("unknown_letter", error.message) from error


def from_record(
    letter: Letter, original: Callable[[Place], TopicRecord | None], decoder: AvroDecoder
) -> RepairedRecord:
    """Return the record that Spark or a connector refused.

    Args:
        letter: A letter of Spark or of a connector.
        original: Returns the record at a place, None when the topic no longer keeps it.
        decoder: Reads the event id, if there is one.

    Raises:
        RejectedRecord: The letter does not say which record it was.
    """
    if letter.source is None:
        raise RejectedRecord("unknown_letter", f"Expected the place of the record, was {sorted(letter.headers)}")
    record = original(letter.source)
    # A letter of Connect has the key of the record, a letter of Spark has the record's place.
    letter_key = letter.key if letter.writer == "connect" else None
    key = letter_key if record is None else record.key
    return RepairedRecord(letter.source.topic, key, letter.value, event_id_in(letter.value, decoder))


def event_id_in(value: bytes | None, decoder: AvroDecoder) -> str | None:
    """Return the event id in a framed value; None if it does not decode."""
    try:
        found = decoder.decode(value).get("event_id")
    except Undecodable:
        return None
    return None if found is None else str(found)
