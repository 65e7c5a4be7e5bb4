"""Decode Avro in Confluent framing to columns, with a reason for each record that does not decode.

A value is the byte `00`, a 4-byte big-endian schema id, then Avro binary. A record is decoded with
the schema that it was written with, into the newest version (the reader schema). So records of old
and new versions may follow each other.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import httpx
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.avro.functions import from_avro

from common.errors import ServiceNotReady
from spark.transforms import quote_qty

FRAME_BYTES = 5


@dataclass(frozen=True, slots=True)
class WriterSchemas:
    """Writer schemas as text by registry id, and the reader schema."""

    by_id: Mapping[int, str]
    reader: str


class SubjectSchemas:
    """The registered versions of one subject, read through the Confluent-compatible API.

    Ids are immutable, so texts are cached forever. Only the list of versions is read again.
    """

    def __init__(
        self, url: str, subject: str, reader: str, *, get: Callable[..., httpx.Response] | None = None
    ) -> None:
        self._url = f"{url}/subjects/{subject}/versions"
        self._reader = reader
        # One client for all batches: `httpx.get` makes a new one, which reads all certificates of
        # the machine: 25 ms of CPU per batch, of a query that has two batches per second.
        self._get = get or httpx.Client(trust_env=False).get
        self._ids: dict[int, int] = {}
        self._texts: dict[int, str] = {}
        self._writer_id: int | None = None

    def schemas(self) -> WriterSchemas:
        """Return all versions that are registered now.

        The producer registers a schema before it writes with it, and this is called after the
        micro-batch was planned. So a record of the batch whose id is missing here is a bad record.

        Raises:
            ServiceNotReady: The registry does not answer. The batch waits, because without the
                schemas good records would be rejected.
        """
        for version in self._fetch(""):
            if version not in self._ids:
                answer = self._fetch(f"/{version}")
                self._texts[answer["id"]] = answer["schema"]
                self._ids[version] = answer["id"]
        return WriterSchemas(dict(self._texts), self._reader)

    def writer_id(self) -> int:
        """Return the registry id of our own schema, which we write with.

        It is read once, since ids are immutable.

        Raises:
            ServiceNotReady: The registry does not answer, or does not have the text yet.
        """
        if self._writer_id is None:
            known = self.schemas().by_id
            own = json.loads(self._reader)
            same = [number for number, text in known.items() if json.loads(text) == own]
            if not same:
                raise ServiceNotReady(
                    f"The registry does not know our schema at {self._url}; its ids there are {sorted(known)}.",
                    next_command="tickhouse up",
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


@cache
def _schema_id() -> Column:
    """Return the id in the frame; null for a value without Confluent framing."""
    is_framed = (F.length("value") > FRAME_BYTES) & (F.substring("value", 1, 1) == F.lit(b"\x00"))
    number = F.conv(F.hex(F.substring(F.col("value"), 2, 4)), 16, 10).cast("long")
    return F.when(is_framed, number)


def decode(records: DataFrame, schemas: WriterSchemas) -> DataFrame:
    """Decode Kafka records.

    Args:
        records: Kafka source columns (key, value, topic, partition, offset, timestamp).
        schemas: Writer schemas by id, and the reader schema.

    Returns:
        The Kafka columns; `record`, a struct of the reader schema, null when the value does not
        decode; and `reason`, null when it does, else `empty`, `bad_magic`, `unknown_schema_id` or
        `undecodable`.
    """
    framed = records.withColumn("schema_id", _schema_id())
    known = tuple(sorted(schemas.by_id.items()))
    # The optimiser does not push expressions through a generator such as explode. Without it, each
    # of the five uses of a field below would decode the record again.
    once = framed.select("*", F.explode(F.array(_record(known, schemas.reader))).alias("record"))
    return once.select(*records.columns, "record", _reason(tuple(schemas.by_id), schemas.reader).alias("reason"))


@lru_cache(maxsize=8)
def _record(known: tuple[tuple[int, str], ...], reader: str) -> Column:
    record: Column = F.lit(None)
    for schema_id, text in known:
        payload = F.when(F.col("schema_id") == schema_id, F.substring(F.col("value"), F.lit(6), F.length("value")))
        decoded = from_avro(payload, text, {"mode": "PERMISSIVE", "avroSchema": reader})
        record = F.when(F.col("schema_id") == schema_id, decoded).otherwise(record)
    return record


@lru_cache(maxsize=8)
def _reason(known: tuple[int, ...], reader: str) -> Column:
    # Mode PERMISSIVE returns a struct of nulls for undecodable bytes. The event_id of a decoded
    # record is never null. The JVM takes any bytes as text, the decoders in Python only UTF-8.
    is_known = F.col("schema_id").isin(sorted(known))
    texts = [F.col(f"record.{field['name']}") for field in json.loads(reader)["fields"] if "string" in field["type"]]
    is_text = F.is_valid_utf8(F.concat_ws(" ", *texts))
    return (
        F.when(F.col("value").isNull() | (F.length("value") == 0), "empty")
        .when(F.col("schema_id").isNull(), "bad_magic")
        .when(~is_known, "unknown_schema_id")
        .when(F.col("record.event_id").isNull() | ~is_text, "undecodable")
    )


def reject_out_of_range(decoded: DataFrame) -> DataFrame:
    """Add reason `quote_qty_out_of_range` where the quote quantity does not fit decimal(38,16)."""
    return decoded.withColumn("reason", _reason_of_range())


@cache
def _reason_of_range() -> Column:
    is_too_large = F.col("reason").isNull() & quote_qty(lambda name: F.col(f"record.{name}")).isNull()
    return F.when(is_too_large, "quote_qty_out_of_range").otherwise(F.col("reason"))
