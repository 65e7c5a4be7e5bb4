"""Read the schema files and the list of topics in this folder."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from common.errors import ConfigurationError

FOLDER = Path(__file__).resolve().parent

# A parsed Avro schema: a type name, a union (list) or a complex type (dict).
Schema: TypeAlias = "str | list[Any] | dict[str, Any]"


@dataclass(frozen=True)
class Topic:
    """One topic of `topics.yaml`; `schema` is None when its values are not Avro."""

    name: str
    partitions: int
    schema: str | None = None
    config: dict[str, str] = field(default_factory=dict)


def schema_names() -> list[str]:
    """Return the name of every `.avsc` file of this folder, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.avsc"))


def load(name: str) -> dict[str, Any]:
    """Return the record schema in `<name>.avsc` as a JSON document.

    Raises:
        ConfigurationError: There is no such schema.
    """
    path = FOLDER / f"{name}.avsc"
    if not path.is_file():
        raise ConfigurationError(f"Expected a schema of {schema_names()}, was {name!r}.")
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def canonical_text(name: str) -> str:
    """Return the text under which a schema is registered: minified, fields in order.

    A registry gives the same schema another id when its white space differs, so only this text is
    ever registered.
    """
    return json.dumps(load(name), separators=(",", ":"))


def without_logical_types(name: str) -> Schema:
    """Return a schema without its logical types: it encodes to the same bytes, in half the time.

    Decimals are then passed as bytes (big-endian two's complement), and times as longs in µs.
    """
    return strip_logical_types(load(name))


def strip_logical_types(schema: Schema) -> Schema:
    """Return `schema` with every logical type replaced by its underlying type."""
    if isinstance(schema, list):
        return [strip_logical_types(branch) for branch in schema]
    if isinstance(schema, str):
        return schema
    if "logicalType" in schema:
        return strip_logical_types(schema["type"])
    if schema["type"] == "record":
        fields = [{**item, "type": strip_logical_types(item["type"])} for item in schema["fields"]]
        return {**schema, "fields": fields}
    return schema


@cache
def _document() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((FOLDER / "topics.yaml").read_text(encoding="utf-8"))
    return document


def compatibility_policy() -> str:
    """Return the compatibility level of every subject in the registry."""
    return str(_document()["schema_compatibility"])


def topics() -> dict[str, Topic]:
    """Return every topic by name."""
    return {name: Topic(name=name, **entry) for name, entry in _document()["topics"].items()}


def connector_dead_letters() -> Topic:
    """Return the settings of each connector's dead-letter topic, `dlq.<connector>`."""
    return Topic(name="dlq.<connector>", **_document()["connector_dead_letters"])


def subjects() -> dict[str, str]:
    """Return the schema name of each registry subject (`<topic>-value`)."""
    return {f"{topic.name}-value": topic.schema for topic in topics().values() if topic.schema is not None}
