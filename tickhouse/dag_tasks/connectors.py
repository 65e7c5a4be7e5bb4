"""The tasks of DAG `connectors`."""

from __future__ import annotations

from common.clients.connect import Worker
from common.errors import ConfigurationError
from common.settings import load_settings
from tickhouse.connectors.plan import apply
from tickhouse.connectors.watch import of_enabled_stores, require_fresh, restart_failed
from tickhouse.dag_tasks.run_report import RunReport


def deploy() -> dict[str, str]:
    """Apply the connector files of the enabled stores; return the action per connector.

    Raises:
        ConfigurationError: No such store was started. A scheduled run does not meet this: without
            these stores the DAG has no schedule.
    """
    settings = load_settings()
    connectors = of_enabled_stores(settings)
    if not connectors:
        raise ConfigurationError(
            "Profile sinks is not up, so there is nothing to deploy.",
            safe="Nothing was changed.",
            next_command="tickhouse up --profile sinks",
        )
    with Worker.of(settings) as worker:
        applied = apply(worker, settings, connectors)
    actions: dict[str, str] = {change.name: change.action for change in applied}
    RunReport.current(settings).say(f"Connectors: {', '.join(f'{name} {action}' for name, action in actions.items())}.")
    return actions


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
    again = f"; restarted {', '.join(restarted)}" if restarted else ""
    RunReport.current(settings).note(f"{len(connectors)} connectors run, and their stores keep up{again}.")
    return {"restarted": restarted, "newest": [state.document() for state in newest]}
