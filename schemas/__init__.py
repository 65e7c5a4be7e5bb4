"""Avro schemas, the list of topics, and the contract sizes.

- `*.avsc`, `topics.yaml`, `contract_sizes.yaml`: the definitions;
- `loading`: read schemas and topics;
- `registry`: register the schemas;
- `compat`: check each schema against its earlier versions;
- `contracts`: what a quantity is worth on each market.
"""

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
