"""The checker's own decoder of Confluent-framed Avro; decimals and times are plain integers.

All other code decodes with `common.clients.avro`.
"""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable
from typing import Any

import httpx
from fastavro import parse_schema, schemaless_reader
from fastavro.schema import SchemaParseException

from common.errors import StoreUnavailable

_HEADER = struct.Struct(">bI")
_READ_ERRORS = (EOFError, ValueError, IndexError, KeyError, TypeError, OverflowError, MemoryError)

FetchSchema = Callable[[int], str | None]


class UndecodableValue(Exception):
    """A value that cannot be decoded; `reason` is the error class that `dlq.spark` uses."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class ValueDecoder:
    """Decodes values by the schema id in their header.

    Args:
        fetch: Returns the schema text of an id, or None when the registry does not know it.
    """

    def __init__(self, fetch: FetchSchema) -> None:
        self._fetch = fetch
        self._schemas: dict[int, Any] = {}

    def decode(self, value: bytes | None) -> dict[str, Any]:
        """Return the record: decimals as unscaled integers, timestamps as microseconds.

        Raises:
            UndecodableValue: empty, bad_magic, unknown_schema_id or undecodable.
        """
        if not value:
            raise UndecodableValue("empty", "The record has no value.")
        if len(value) < _HEADER.size or value[0] != 0:
            raise UndecodableValue("bad_magic", f"Expected a 0 byte and a schema id, was {value[:5]!r}.")
        schema, decimals = self._schema(_HEADER.unpack_from(value)[1])
        try:
            record: Any = schemaless_reader(io.BytesIO(value[_HEADER.size :]), schema, None)
        except _READ_ERRORS as error:
            raise UndecodableValue("undecodable", repr(error)) from error
        for name in decimals:
            record[name] = int.from_bytes(record[name], "big", signed=True)
        fields: dict[str, Any] = record
        return fields

    def _schema(self, schema_id: int) -> tuple[Any, list[str]]:
        if schema_id not in self._schemas:
            text = self._fetch(schema_id)
            self._schemas[schema_id] = None if text is None else _prepared(text)
        schema: tuple[Any, list[str]] | None = self._schemas[schema_id]
        if schema is None:
            raise UndecodableValue("unknown_schema_id", f"The registry has no schema {schema_id}.")
        return schema


def _prepared(text: str) -> tuple[Any, list[str]] | None:
    """Return the schema without logical types, and the names of its decimals.

    The result is None when the text is not a record schema.
    """
    try:
        document = json.loads(text)
        decimals = [field["name"] for field in document["fields"] if _is_decimal(field["type"])]
        return parse_schema(_without_logical_types(document)), decimals
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


def registry_fetch(url: str, client: httpx.Client) -> FetchSchema:
    """Return a fetcher for a Confluent-compatible registry.

    Args:
        url: Base address, `settings.schema_registry_url`.
        client: HTTP client, closed by the caller.
    """

    def fetch(schema_id: int) -> str | None:
        try:
            response = client.get(f"{url}/schemas/ids/{schema_id}")
            if response.status_code == httpx.codes.NOT_FOUND:
                return None
            response.raise_for_status()
            return str(response.json()["schema"])
        except (httpx.HTTPError, ValueError, KeyError) as error:
            raise StoreUnavailable(
                f"The schema registry at {url} does not answer: {error!r}.",
                safe="The stores are untouched.",
                next_command="tickhouse status",
            ) from error

    return fetch
