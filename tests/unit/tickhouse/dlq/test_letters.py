"""Letters of all three writers, their groups, and the meaning of every reason."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.clients.gap_ledger import delivered_ids
from common.clients.kafka import TopicRecord
from common.errors import ConfigurationError
from common.settings import REPO
from tickhouse.dlq import error_catalog
from tickhouse.dlq.letters import CONNECT, Place, grouped, read, text_of
from tickhouse.dlq.repaired_records import RepairedRecord
from tickhouse.dlq.resolved import ResolvedLetters

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
    return TopicRecord(topic, 0, offset, at_ms, key, value, headers)


@pytest.mark.parametrize(
    ("headers", "writer", "reason", "source"),
    [
        (PRODUCER, "producer", "bad_number", None),
        (SPARK, "spark", "bad_magic", Place("crypto.trades", 2, 17)),
        (SINK, "connect", "value_converter:DataException", Place("crypto.trades.enriched", 1, 9)),
        ({"x": "y"}, "unknown", "unknown_letter", None),
        # A record that was sent again keeps its headers; those of the sink count.
        ({**SINK, "redrive.try": "1", "reason": "x"}, "connect", "value_converter:DataException",
         Place("crypto.trades.enriched", 1, 9)),
        ({**SPARK, "offset": "-"}, "spark", "bad_magic", None),
    ],
)  # fmt: skip
def test_a_letter_of_each_writer(headers, writer, reason, source) -> None:
    letter = read(record(headers))

    assert (letter.writer, letter.reason, letter.source) == (writer, reason, source)
    assert error_catalog.entry_of(letter).what


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
    for path in (REPO / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "RejectedRecord":
                found |= {one.value for one in ast.walk(node.args[0]) if isinstance(one, ast.Constant)}
    return found


def ledger_of(*writers):
    stream = {"market": "spot", "symbol": "BTCUSDT", "stream": "aggTrade"}
    return [stream | {"writer": f"w{at}"} | one for at, one in enumerate(writers)]


@pytest.mark.parametrize(
    ("writers", "is_resolved"),
    [
        ([{"seen": [[1, 9]], "rejected": []}], True),
        ([{"seen": [[1, 9]], "rejected": [[5, 5]]}], False),
        ([{"seen": [[1, 9]], "rejected": [[5, 5]]}, {"seen": [[5, 5]], "rejected": []}], True),
        ([{"seen": [[1, 9]]}], False),  # written by an earlier version, which does not record the rejected ids
        ([{"seen": [[1, 4]], "rejected": []}], False),
        ([{"seen": [], "rejected": []}, {"writer": "w0", "part": 0, "seen": [[5, 5]], "rejected": []}], True),
    ],
)
def test_a_letter_is_resolved_when_some_writer_delivered_its_id(writers, is_resolved) -> None:
    resolved = ResolvedLetters(delivered_ids(ledger_of(*writers)))
    letter = read(record(PRODUCER, key=b"binance:spot:BTCUSDT:aggTrade:5"))

    assert resolved(letter) is is_resolved
    assert grouped([letter], frozenset(), resolved)[0].document()["resolved"] == is_resolved
    for other in (
        read(record(PRODUCER | {"reason": "conflict"}, key=b"binance:spot:BTCUSDT:aggTrade:5")),
        read(record(PRODUCER, key=b"sha256:00")),
        read(record(SPARK, key=b"binance:spot:BTCUSDT:aggTrade:5")),
    ):
        assert resolved(other) is False


def test_every_reason_of_the_producer_has_a_meaning() -> None:
    known = raised_reasons("producer")

    assert {"bad_id", "truncated", "conflict"} <= known
    assert known <= error_catalog.PRODUCER.keys()


def test_every_reason_of_spark_has_a_meaning() -> None:
    text = (REPO / "spark" / "streaming" / "decode.py").read_text()

    assert all(f'"{reason}"' in text for reason in error_catalog.SPARK)
    assert {
        "empty",
        "bad_magic",
        "unknown_schema_id",
        "undecodable",
        "quote_qty_out_of_range",
    } == error_catalog.SPARK.keys()


@given(st.from_regex(r"[a-z.\-]{1,20}", fullmatch=True), st.integers(0, 100), st.integers(0, 2**62))
def test_a_place_reads_back(topic, partition, offset) -> None:
    place = Place(topic, partition, offset)

    assert Place.parse(str(place)) == place


@pytest.mark.parametrize("text", ["", "dlq.spark", "dlq.spark:0", "dlq.spark:0:x", "dlq.spark:-1:0"])
def test_a_text_that_is_not_a_place_is_refused(text) -> None:
    with pytest.raises(ConfigurationError, match="TOPIC:PARTITION:OFFSET"):
        Place.parse(text)


@given(st.binary(max_size=50))
def test_any_bytes_can_be_shown(value) -> None:
    assert text_of(value).isprintable()


PARTS = st.tuples(st.text(max_size=5), st.binary(max_size=5), st.binary(max_size=5))


@given(PARTS, PARTS)
def test_fingerprints_are_equal_for_equal_records_only(one, other) -> None:
    prints = [RepairedRecord(*parts, event_id=None).fingerprint for parts in (one, other)]

    assert (prints[0] == prints[1]) == (one == other)
