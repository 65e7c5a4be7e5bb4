"""The JVM, the reader of single records and the reader of blocks agree on which records are bad."""

from __future__ import annotations

from pyspark.sql import SparkSession

from schemas.loading import canonical_text
from spark.streaming.decode import WriterSchemas, decode, reject_out_of_range
from tests.unit.spark.streaming.test_column_sums import READER, SCHEMA_ID, framed, trade, units

GOOD = framed(trade(2))
CASES: dict[str, tuple[bytes | None, str | None]] = {
    "good": (GOOD, None),
    "more bytes": (GOOD + b"\0\1", None),
    "wide number": (framed({**trade(2), "price": units(5, more=30)}), None),
    "long text": (framed({**trade(2), "raw": "x" * 9_000}), None),
    "null": (None, "empty"),
    "no bytes": (b"", "empty"),
    "only a frame": (GOOD[:5], "bad_magic"),
    "text": (b"{not avro}", "bad_magic"),
    "other id": (framed(trade(2), number=8), "unknown_schema_id"),
    "cut off": (GOOD[:40], "undecodable"),
    "cut in the last field": (GOOD[:-1], "undecodable"),
    "negative length": (GOOD[:5] + b"\x01" + GOOD[6:], "undecodable"),
    "endless number": (GOOD[:5] + b"\xff" * 11 + GOOD[5:], "undecodable"),
    "no text": (GOOD.replace(b"BINANCE", b"BIN\xffNCE"), "undecodable"),
    "empty number": (framed({**trade(2), "price": b""}), "undecodable"),
    "29 digits": (framed({**trade(2), "price": units(10**28)}), "undecodable"),
    "29 digits below zero": (framed({**trade(2), "qty": units(-(10**28))}), "undecodable"),
    "28 digits": (framed({**trade(2), "price": units(10**28 - 1), "qty": units(1)}), None),
    "large product": (framed({**trade(2), "price": units(10**27), "qty": units(10**27)}), "quote_qty_out_of_range"),
}


def test_the_reasons_of_bad_records(spark: SparkSession) -> None:
    rows = [(None if value is None else bytearray(value), at) for at, (value, _) in enumerate(CASES.values())]
    records = spark.createDataFrame(rows, "value binary, offset long")
    text = canonical_text("trade")
    decoded = reject_out_of_range(decode(records, WriterSchemas({SCHEMA_ID: text}, text)))
    found = {row["offset"]: row["reason"] for row in decoded.select("offset", "reason").collect()}
    assert {name: found[at] for at, name in enumerate(CASES)} == {name: reason for name, (_, reason) in CASES.items()}


def test_the_reader_of_single_records_agrees() -> None:
    facts = {name: list(READER.facts([value])) for name, (value, _) in CASES.items()}
    assert {name for name, found in facts.items() if found} == {name for name, (_, why) in CASES.items() if why is None}
