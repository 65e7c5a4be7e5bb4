"""Confluent-framed Avro to columns, with a reason for what does not decode.

A value is `00`, a 4-byte big-endian schema id, then Avro binary. Each id in use is decoded with its own writer
schema into the newest one (the reader), so old and new versions flow through side by side.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.avro.functions import from_avro

from tickhouse.errors import ServiceNotReady

FRAME_BYTES = 5


@dataclass(frozen=True, slots=True)
class WriterSchemas:
    """Schema texts by registry id, and the one to read into."""

    by_id: Mapping[int, str]
    reader: str


class Registry:
    """Look up the versions of one subject through the Confluent-compatible API.

    Ids are immutable, so texts are kept for good; only the list of versions is asked for again.
    """

    def __init__(self, url: str, subject: str, reader: str, *, get: Callable[..., httpx.Response] = httpx.get) -> None:
        self._url = f"{url}/subjects/{subject}/versions"
        self._reader = reader
        self._get = get
        self._ids: dict[int, int] = {}
        self._texts: dict[int, str] = {}
        self._writer_id: int | None = None

    def schemas(self) -> WriterSchemas:
        """Return every version registered so far.

        The producer registers a schema before it writes with it, and this is called after the micro-batch is
        planned, so no record of the batch can carry an id that is missing here unless it is a bad one.

        Raises:
            ServiceNotReady: The registry does not answer; better to wait than to call good records bad.
        """
        for version in self._fetch(""):
            if version not in self._ids:
                answer = self._fetch(f"/{version}")
                self._texts[answer["id"]] = answer["schema"]
                self._ids[version] = answer["id"]
        return WriterSchemas(dict(self._texts), self._reader)

    def writer_id(self) -> int:
        """Return the id of our own text, the one to write with; asked for once, since ids are immutable.

        Raises:
            ServiceNotReady: The registry does not answer, or does not have the text yet.
        """
        if self._writer_id is None:
            known = self.schemas().by_id
            same = [number for number, text in known.items() if json.loads(text) == json.loads(self._reader)]
            if not same:
                raise ServiceNotReady(
                    f"Expected our schema among the versions at {self._url}, was not.", next_command="tickhouse up"
                )
            self._writer_id = min(same)
        return self._writer_id

    def _fetch(self, path: str) -> Any:
        try:
            answer = self._get(self._url + path, timeout=5.0)
            answer.raise_for_status()
        except httpx.HTTPError as error:
            raise ServiceNotReady(
                f"The schema registry did not answer at {self._url}{path}: {error}.",
                safe="The batch waits; no offset is committed.",
                next_command="tickhouse status",
            ) from error
        return answer.json()


def with_schema_id(records: DataFrame) -> DataFrame:
    """Add `schema_id`: the framed id, null where the value is no Confluent frame."""
    is_framed = (F.length("value") > FRAME_BYTES) & (F.substring("value", 1, 1) == F.lit(b"\x00"))
    number = F.conv(F.hex(F.substring(F.col("value"), 2, 4)), 16, 10).cast("long")
    return records.withColumn("schema_id", F.when(is_framed, number))


def decode(records: DataFrame, schemas: WriterSchemas) -> DataFrame:
    """Decode Kafka records.

    Args:
        records: Kafka source columns (key, value, topic, partition, offset, timestamp).
        schemas: Writer schemas by id and the reader schema.

    Returns:
        The Kafka columns, `record` (struct of the reader schema, null where it does not decode) and `reason`
        (null where it does): empty, bad_magic, unknown_schema_id, undecodable.
    """
    framed = with_schema_id(records)
    record: Column = F.lit(None)
    for schema_id, text in sorted(schemas.by_id.items()):
        payload = F.when(F.col("schema_id") == schema_id, F.substring(F.col("value"), F.lit(6), F.length("value")))
        decoded = from_avro(payload, text, {"mode": "PERMISSIVE", "avroSchema": schemas.reader})
        record = F.when(F.col("schema_id") == schema_id, decoded).otherwise(record)
    # A generator is where the optimiser stops: without it, each use of a field below (there are five) is pushed
    # down to a decoding of its own.
    once = framed.select("*", F.explode(F.array(record)).alias("record"))
    return once.withColumn("reason", _reason(schemas)).drop("schema_id")


def _reason(schemas: WriterSchemas) -> Column:
    # PERMISSIVE gives a struct of nulls for undecodable bytes; event_id is never null in a decoded record.
    is_known = F.col("schema_id").isin(sorted(schemas.by_id))
    return (
        F.when(F.col("value").isNull() | (F.length("value") == 0), "empty")
        .when(F.col("schema_id").isNull(), "bad_magic")
        .when(~is_known, "unknown_schema_id")
        .when(F.col("record.event_id").isNull(), "undecodable")
    )


def reject_out_of_range(decoded: DataFrame) -> DataFrame:
    """Give trades whose price x quantity passes decimal(38,16) the reason `quote_qty_out_of_range`, and no record."""
    product = F.try_multiply(F.col("record.price"), F.col("record.qty")).cast("decimal(38,16)")
    is_too_large = F.col("reason").isNull() & product.isNull()
    return decoded.withColumn("reason", F.when(is_too_large, "quote_qty_out_of_range").otherwise(F.col("reason")))
