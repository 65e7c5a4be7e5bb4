"""Hook of the schema registry: register the schemas of the repository."""

from __future__ import annotations

from schemas.registry import register_all
from stack.engine.context import ServiceContext


def register_schemas(context: ServiceContext) -> None:
    """Register every schema under its subject and set the compatibility; existing versions stay.

    Raises:
        SchemaIncompatible: A schema does not fit an earlier version.
    """
    register_all(context.settings.schema_registry_url)
