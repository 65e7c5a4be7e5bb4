"""Hook of the exporters: readiness."""

from __future__ import annotations

from common.settings import ports
from stack.engine.context import ServiceContext
from stack.engine.probe import accepts_connections


def is_ready(context: ServiceContext) -> bool:
    """Return whether every exporter listens; whether its server answers is a metric."""
    return all(accepts_connections(f"127.0.0.1:{ports()[name]}") for name in context.service.ports)
