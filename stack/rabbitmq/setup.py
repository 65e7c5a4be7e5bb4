"""Hooks of RabbitMQ: readiness, a user per job, exchanges and queues."""

from __future__ import annotations

import json

from common.clients.rabbitmq import managed
from common.settings import REPO, ports
from stack.engine.context import ServiceContext
from stack.engine.probe import accepts_connections

DEFINITIONS = REPO / "stack" / "rabbitmq" / "definitions.json"

# Role to tags and rights. `configure` is empty for all: only the administrator makes queues.
USERS = {
    "bridge": ("", {"configure": "", "write": "^notifications$", "read": ""}),
    "worker": (
        "",
        {"configure": "", "write": r"^notifications\.(retry|dead)$", "read": r"^notify\.(file|webhook|email)$"},
    ),
    # It shows dead letters and sends them again.
    "operator": (
        "monitoring",
        {"configure": "", "write": r"^(notifications|notify\.dead)$", "read": r"^notify\.dead$"},
    ),
}


def is_ready(context: ServiceContext) -> bool:
    """Return whether the server serves its virtual host."""
    if not all(accepts_connections(f"127.0.0.1:{ports()[name]}") for name in ("rabbitmq", "rabbitmq_management")):
        return False
    with managed(context.settings, "admin") as management:
        return management.is_healthy()


def notifiers_are_ready(context: ServiceContext) -> bool:
    """Return whether bridge and worker serve their metrics."""
    return all(accepts_connections(f"127.0.0.1:{ports()[name]}") for name in context.service.ports)


def create_users(context: ServiceContext) -> None:
    """Create the users of bridge, workers and CLI, each with the rights of its job.

    Raises:
        StoreUnavailable: RabbitMQ does not answer.
    """
    with managed(context.settings, "admin") as management:
        for role, (tags, rights) in USERS.items():
            user, password = context.settings.rabbitmq_login(role)
            management.put_user(user, password, tags, rights)


def declare_queues(context: ServiceContext) -> None:
    """Make the exchanges, queues and bindings of `definitions.json`.

    Raises:
        ConfigurationError: A queue is there with other arguments.
        StoreUnavailable: RabbitMQ does not answer.
    """
    with managed(context.settings, "admin") as management:
        management.define(json.loads(DEFINITIONS.read_text()))
