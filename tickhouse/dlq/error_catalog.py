"""What each error class of a dead letter means, and how to fix it."""

from __future__ import annotations

from typing import NamedTuple

from tickhouse.dlq.letters import Letter


class CatalogEntry(NamedTuple):
    """What happened, and what to do before the letter is sent again."""

    what: str
    fix: str


_NEVER = "Nothing: the exchange sent it like this. The letter stays as a record of what was refused."
_TRUNCATED = "Nothing for this frame: its id becomes a gap, and REST fills it (tickhouse gaps)."
_TOO_LARGE = (
    "Nothing: the letter holds the frame's beginning, length and sha256 (headers cut_from_bytes, cut_from_sha256)."
)
_CODE = "If the exchange changed its format: add the new one to producer/parsing/frames.py, then redrive."

PRODUCER = {
    "bad_id": CatalogEntry("An id is out of range, or the first id is above the last.", _NEVER),
    "bad_number": CatalogEntry("A price, quantity or volume is not a plain decimal number.", _CODE),
    "bad_symbol": CatalogEntry("The symbol has characters that no symbol of the exchange has.", _NEVER),
    "bad_time": CatalogEntry("A time is neither in milliseconds nor in microseconds.", _CODE),
    "conflict": CatalogEntry(
        "The id was sent before with other values. This payload was not sent.",
        "Compare both (headers detail and known_payload, or tickhouse explain EVENT_ID); decide which source is right.",
    ),
    "decimal_out_of_range": CatalogEntry(
        "A number has more digits than decimal(28,8) holds. It is refused and never rounded.",
        "If such numbers are real: a wider type in a new version of the schemas, then redrive.",
    ),
    "invalid_json": CatalogEntry("The frame is not JSON.", _TRUNCATED),
    "missing_field": CatalogEntry("A field that every such frame has is missing.", _CODE),
    "not_an_object": CatalogEntry("The frame is JSON, but not an object.", _NEVER),
    "not_utf8": CatalogEntry("The bytes are not UTF-8.", _TRUNCATED),
    "too_large": CatalogEntry("The frame is longer than the largest Kafka message that Tickhouse sends.", _TOO_LARGE),
    "truncated": CatalogEntry("The frame is cut off.", _TRUNCATED),
    "unknown_event_type": CatalogEntry("An event type that the producer does not know.", _CODE),
    "unknown_format": CatalogEntry("The line is in no known format.", _CODE),
    "wrong_type": CatalogEntry("A field has another type than the exchange documents.", _CODE),
}

SPARK = {
    "empty": CatalogEntry("The record has no value.", "Find what else writes to the topic besides the producer."),
    "bad_magic": CatalogEntry(
        "The value does not begin with the frame of a schema-registry serializer.",
        "Find what else writes to the topic besides the producer.",
    ),
    "unknown_schema_id": CatalogEntry(
        "The registry had no such schema under the topic's subject.", "Register it (tickhouse up), then redrive."
    ),
    "undecodable": CatalogEntry(
        "The bytes do not match the schema that their frame names.",
        "Find what else writes to the topic besides the producer.",
    ),
    "quote_qty_out_of_range": CatalogEntry(
        "The trade's quote quantity has more digits than decimal(38,16) holds, or rounds to nothing (COIN-M).",
        "If such trades are real: a wider type in a new version of enriched_trade.avsc, then redrive.",
    ),
}

# By stage: org.apache.kafka.connect.runtime.errors.Stage.
CONNECT = {
    "key_converter": CatalogEntry(
        "The connector could not read the key.", "Fix the connector's key.converter, then redrive."
    ),
    "value_converter": CatalogEntry(
        "The connector could not read the value: bytes of another format, or a schema id unknown to the registry.",
        "Register the schema, or find what writes such bytes, then redrive.",
    ),
    "header_converter": CatalogEntry("The connector could not read a header.", "Fix header.converter, then redrive."),
    "transformation": CatalogEntry(
        "A transform of the connector failed.", "Fix its JSON (tickhouse connectors), then redrive."
    ),
    "task_put": CatalogEntry(
        "The store refused the record: its mapping, schema or limits do not accept the value.",
        "Fix the store's mapping or table, then redrive.",
    ),
}

UNKNOWN = CatalogEntry(
    "An error class that this version does not know.", "Read the headers: tickhouse dlq explain PLACE."
)


def entry_of(letter: Letter) -> CatalogEntry:
    """Return the catalog entry of a letter's error class."""
    if letter.writer == "connect":
        return CONNECT.get(letter.reason.partition(":")[0], UNKNOWN)
    return {"producer": PRODUCER, "spark": SPARK}.get(letter.writer, {}).get(letter.reason, UNKNOWN)
