"""What each error class means, and what mends it."""

from __future__ import annotations

from typing import NamedTuple

from tickhouse.dlq.letters import Letter


class Meaning(NamedTuple):
    """What happened, and what to do before the letter is sent again."""

    what: str
    mend: str


_NEVER = "Nothing: the exchange sent it so. It stays here as the record of what was refused."
_TRUNCATED = "Nothing for this frame: its id shows as a gap, and REST fills it (tickhouse gaps)."
_CODE = "If the exchange changed its format: teach producer/frames.py the new one, then redrive."

PRODUCER = {
    "bad_id": Meaning("An id is outside of what the exchange issues, or first and last contradict each other.", _NEVER),
    "bad_number": Meaning("A price, quantity or volume is no plain decimal number.", _CODE),
    "bad_symbol": Meaning("The symbol cannot be one.", _NEVER),
    "bad_time": Meaning("A time is neither in milliseconds nor in microseconds.", _CODE),
    "conflict": Meaning("The id was sent before with other values.", "Compare both: tickhouse explain EVENT_ID."),
    "decimal_out_of_range": Meaning(
        "More digits than decimal(28,8) holds. It is refused and never rounded.",
        "If such numbers are real: a wider type in a new version of the schemas, then redrive.",
    ),
    "invalid_json": Meaning("The frame is no JSON.", _TRUNCATED),
    "missing_field": Meaning("A field that every such frame has is missing.", _CODE),
    "not_an_object": Meaning("The frame is JSON, but no object.", _NEVER),
    "not_utf8": Meaning("The bytes are no UTF-8.", _TRUNCATED),
    "truncated": Meaning("The frame ends too early.", _TRUNCATED),
    "unknown_event_type": Meaning("A sort of event that the producer does not know.", _CODE),
    "unknown_format": Meaning("The line is of no format that is known.", _CODE),
    "wrong_type": Meaning("A field has another type than the exchange documents.", _CODE),
}

SPARK = {
    "empty": Meaning("The record has no value.", "Find who writes to the topic beside the producer."),
    "bad_magic": Meaning(
        "The value does not begin as the registry's serializers frame it.",
        "Find who writes to the topic beside the producer.",
    ),
    "unknown_schema_id": Meaning(
        "The registry had no such schema under the topic's subject.", "Register it (tickhouse up), then redrive."
    ),
    "undecodable": Meaning(
        "The bytes do not fit the schema they name.", "Find who writes to the topic beside the producer."
    ),
    "quote_qty_out_of_range": Meaning(
        "Price x quantity has more digits than decimal(38,16) holds.",
        "If such trades are real: a wider type in a new version of enriched_trade.avsc, then redrive.",
    ),
}

# By stage: org.apache.kafka.connect.runtime.errors.Stage.
CONNECT = {
    "key_converter": Meaning("The connector could not read the key.", "Mend the connector's key.converter, redrive."),
    "value_converter": Meaning(
        "The connector could not read the value: bytes of another format, or a schema id unknown to the registry.",
        "Register the schema, or find who writes such bytes; then redrive.",
    ),
    "header_converter": Meaning("The connector could not read a header.", "Mend header.converter, then redrive."),
    "transformation": Meaning("A transform of the connector failed.", "Mend its JSON (tickhouse connectors), redrive."),
    "task_put": Meaning(
        "The store refused the record: its mapping, schema or limits do not take the value.",
        "Mend the store's mapping or table, then redrive.",
    ),
}

UNKNOWN = Meaning("An error class that this version does not know.", "Read the headers: tickhouse dlq explain PLACE.")


def meaning(letter: Letter) -> Meaning:
    """Return what a letter's error class means."""
    if letter.writer == "connect":
        return CONNECT.get(letter.reason.partition(":")[0], UNKNOWN)
    return {"producer": PRODUCER, "spark": SPARK}.get(letter.writer, {}).get(letter.reason, UNKNOWN)
