"""Avro schemas, topics and the compatibility policy."""

from __future__ import annotations

from schemas.loading import (
    Schema,
    Topic,
    canonical_text,
    compatibility_policy,
    load,
    schema_names,
    subjects,
    topics,
    without_logical_types,
)

__all__ = [
    "Schema",
    "Topic",
    "canonical_text",
    "compatibility_policy",
    "load",
    "schema_names",
    "subjects",
    "topics",
    "without_logical_types",
]
