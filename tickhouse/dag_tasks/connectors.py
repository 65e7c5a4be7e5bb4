"""The tasks of DAG `connectors`."""

from __future__ import annotations

from common.clients.connect import Worker
from common.settings import load_settings
from tickhouse.connectors.plan import apply
from tickhouse.connectors.watch import of_enabled_stores, require_fresh, restart_failed


def deploy() -> dict[str, str]:
    """Apply the connector files of the enabled stores; return the action per connector."""
    settings = load_settings()
    with Worker.of(settings) as worker:
        applied = apply(worker, settings, of_enabled_stores(settings))
    return {change.name: change.action for change in applied}


def watch() -> dict[str, object]:
    """Restart failed connectors, then require each store to keep up with its topic.

    Raises:
        StoreUnavailable: A store lags behind its topic and does not catch up.
    """
    settings = load_settings()
    connectors = of_enabled_stores(settings)
    with Worker.of(settings) as worker:
        restarted = restart_failed(worker, connectors)
    newest = require_fresh(settings, connectors)
    return {"restarted": restarted, "newest": [state.document() for state in newest]}
