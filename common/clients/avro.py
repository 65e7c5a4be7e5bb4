"""Decode Confluent-framed Avro with the writer's schema from the registry."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final

import httpx
from fastavro import parse_schema, schemaless_reader
from fastavro.schema import SchemaParseException

from common.errors import StoreUnavailable

# Confluent's wire format: a zero byte, then the schema's id as a big-endian 32-bit integer.
_FRAME: Final = struct.Struct(">bI")
# The errors that fastavro raises for bytes that do not fit their schema.
_READ_ERRORS: Final = (EOFError, ValueError, IndexError, KeyError, TypeError, OverflowError, MemoryError)

# Returns the schema text of an id; None when the registry does not know the id.
SchemaLookup = Callable[[int], str | None]


class Undecodable(Exception):
    """A value that cannot be decoded; `reason` is the error class that `dlq.spark` uses."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class _WriterSchema:
    """A schema without logical types, and the names of the fields that are decimals."""

    parsed: Any
    decimals: tuple[str, ...]


class AvroDecoder:
    """Decodes values by the schema id in their frame.

    Args:
        lookup: Returns the schema text of an id.
    """

    def __init__(self, lookup: SchemaLookup) -> None:
        self._lookup = lookup
        self._schemas: dict[int, _WriterSchema | None] = {}

    def decode(self, value: bytes | None) -> dict[str, Any]:
        """Return the record: decimals as unscaled integers, times as microseconds since 1970 UTC.

        Raises:
            Undecodable: `empty`, `bad_magic`, `unknown_schema_id` or `undecodable`.
            StoreUnavailable: The registry does not answer.
        """
        if not value:
            raise Undecodable("empty", "The record has no value.")
        if len(value) < _FRAME.size or value[0] != 0:
            raise Undecodable("bad_magic", f"Expected a 0 byte and a schema id, was {value[:5]!r}.")
        schema = self._schema(_FRAME.unpack_from(value)[1])
        try:
            record: Any = schemaless_reader(BytesIO(value[_FRAME.size :]), schema.parsed, None)
        except _READ_ERRORS as error:
            raise Undecodable("undecodable", repr(error)) from error
        numbers = {name: int.from_bytes(record[name], "big", signed=True) for name in schema.decimals}
        return {**record, **numbers}

    def _schema(self, schema_id: int) -> _WriterSchema:
        if schema_id not in self._schemas:
            text = self._lookup(schema_id)
            self._schemas[schema_id] = None if text is None else _parse(text)
        schema = self._schemas[schema_id]
        if schema is None:
            raise Undecodable("unknown_schema_id", f"The registry has no record schema with id {schema_id}.")
        return schema


def _parse(text: str) -> _WriterSchema | None:
    """Return a record schema; None when the text is not one."""
    try:
        document = json.loads(text)
        decimals = tuple(field["name"] for field in document["fields"] if _is_decimal(field["type"]))
        return _WriterSchema(parse_schema(_without_logical_types(document)), decimals)
    except (ValueError, KeyError, TypeError, SchemaParseException):
        return None


def _is_decimal(kind: object) -> bool:
    return isinstance(kind, dict) and kind.get("logicalType") == "decimal"


def _without_logical_types(node: Any) -> Any:  # a schema is any JSON
    if isinstance(node, list):
        return [_without_logical_types(item) for item in node]
    if isinstance(node, dict):
        return {name: _without_logical_types(value) for name, value in node.items() if name != "logicalType"}
    return node


def registry_lookup(url: str, client: httpx.Client) -> SchemaLookup:
    """Return a lookup in a Confluent-compatible registry.

    The lookup raises StoreUnavailable when the registry does not answer.

    Args:
        url: Base address, `settings.schema_registry_url`.
        client: HTTP client, closed by the caller.
    """

    def lookup(schema_id: int) -> str | None:
        try:
            response = client.get(f"{url}/schemas/ids/{schema_id}")
            if response.status_code == httpx.codes.NOT_FOUND:
                return None
            response.raise_for_status()
            return str(response.json()["schema"])
        except (httpx.HTTPError, ValueError, KeyError) as error:
            raise StoreUnavailable(
                f"The schema registry at {url} does not answer: {error!r}.",
                safe="Nothing was changed.",
                next_command="tickhouse status",
            ) from error

    return lookup
