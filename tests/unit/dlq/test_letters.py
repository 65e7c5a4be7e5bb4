"""Letters of all three writers, their groups, and the meaning of every reason."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickhouse.dlq import meanings
from tickhouse.dlq.letters import CONNECT, Place, grouped, read, text_of
from tickhouse.dlq.mend import Mended
from tickhouse.errors import ConfigurationError
from tickhouse.reconcile.kafka import Record
from tickhouse.settings import REPO

PRODUCER = {"reason": "bad_number", "detail": "Expected a decimal number, was 'x'", "source": "WEBSOCKET",
            "market": "spot", "stream_name": "x@aggTrade", "position": "ws", "received_at_us": "1",
            "writer": "live"}  # fmt: skip
SPARK = {"topic": "crypto.trades", "partition": "2", "offset": "17", "reason": "bad_magic", "detail": "value bytes: 3"}
SINK = {
    f"{CONNECT}topic": "crypto.trades.enriched", f"{CONNECT}partition": "1", f"{CONNECT}offset": "9",
    f"{CONNECT}connector.name": "elasticsearch-trades", f"{CONNECT}stage": "VALUE_CONVERTER",
    f"{CONNECT}exception.class.name": "org.apache.kafka.connect.errors.DataException",
    f"{CONNECT}exception.message": "Failed to deserialize",
}  # fmt: skip


def record(headers, *, topic="dlq.x", offset=0, at_ms=1000, key=b"k", value=b"v"):
    return Record(topic, 0, offset, at_ms, key, value, headers)


@pytest.mark.parametrize(
    ("headers", "writer", "reason", "source"),
    [
        (PRODUCER, "producer", "bad_number", None),
        (SPARK, "spark", "bad_magic", Place("crypto.trades", 2, 17)),
        (SINK, "connect", "value_converter:DataException", Place("crypto.trades.enriched", 1, 9)),
        ({"x": "y"}, "unknown", "unknown_letter", None),
        # A record that was sent again keeps its headers; the sink's are what counts.
        ({**SINK, "redrive.try": "1", "reason": "x"}, "connect", "value_converter:DataException",
         Place("crypto.trades.enriched", 1, 9)),
        ({**SPARK, "offset": "-"}, "spark", "bad_magic", None),
    ],
)  # fmt: skip
def test_a_letter_of_each_writer(headers, writer, reason, source) -> None:
    letter = read(record(headers))

    assert (letter.writer, letter.reason, letter.source) == (writer, reason, source)
    assert meanings.meaning(letter).what


def test_groups_count_letters_and_those_sent_again() -> None:
    letters = [
        read(record(SPARK, offset=0, at_ms=2000)),
        read(record(SPARK, offset=1, at_ms=1000)),
        read(record(SINK, offset=2, at_ms=3000)),
    ]
    first, second = (group.document() for group in grouped(letters, frozenset({Place("dlq.x", 0, 1)})))

    assert (first["reason"], first["letters"], first["redriven"]) == ("bad_magic", 2, 1)
    assert (first["first_ms"], first["last_ms"], first["example"]) == (1000, 2000, "dlq.x:0:0")
    assert (second["reason"], second["letters"], second["redriven"]) == ("value_converter:DataException", 1, 0)


def raised_reasons(folder: str) -> set[str]:
    """Return the reasons of every RejectedRecord that a package raises by name."""
    found = set()
    for path in (REPO / folder).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "RejectedRecord":
                found |= {one.value for one in ast.walk(node.args[0]) if isinstance(one, ast.Constant)}
    return found


def test_every_reason_of_the_producer_has_a_meaning() -> None:
    known = raised_reasons("producer")

    assert {"bad_id", "truncated", "conflict"} <= known
    assert known <= meanings.PRODUCER.keys()


def test_every_reason_of_spark_has_a_meaning() -> None:
    text = (REPO / "spark" / "decode.py").read_text()

    assert all(f'"{reason}"' in text for reason in meanings.SPARK)
    assert {"empty", "bad_magic", "unknown_schema_id", "undecodable", "quote_qty_out_of_range"} == meanings.SPARK.keys()


@given(st.from_regex(r"[a-z.\-]{1,20}", fullmatch=True), st.integers(0, 100), st.integers(0, 2**62))
def test_a_place_reads_back(topic, partition, offset) -> None:
    place = Place(topic, partition, offset)

    assert Place.parse(str(place)) == place


@pytest.mark.parametrize("text", ["", "dlq.spark", "dlq.spark:0", "dlq.spark:0:x", "dlq.spark:-1:0"])
def test_what_is_no_place(text) -> None:
    with pytest.raises(ConfigurationError, match="TOPIC:PARTITION:OFFSET"):
        Place.parse(text)


@given(st.binary(max_size=50))
def test_any_bytes_can_be_shown(value) -> None:
    assert text_of(value).isprintable()


PARTS = st.tuples(st.text(max_size=5), st.binary(max_size=5), st.binary(max_size=5))


@given(PARTS, PARTS)
def test_fingerprints_are_equal_for_equal_records_only(one, other) -> None:
    prints = [Mended(*parts, event_id=None).fingerprint for parts in (one, other)]

    assert (prints[0] == prints[1]) == (one == other)
