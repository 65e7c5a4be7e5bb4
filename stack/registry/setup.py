"""Schema registry: the schemas of the repository are registered as soon as it answers."""

from __future__ import annotations

from schemas.registry import register_all
from stack.engine.context import ServiceContext


def register_schemas(context: ServiceContext) -> None:
    """Register every schema under its subject and set the compatibility; what is there already stays.

    Raises:
        SchemaIncompatible: A schema does not fit an earlier version.
    """
    register_all(context.settings.schema_registry_url)
