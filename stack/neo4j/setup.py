"""Hooks of Neo4j: the first password, readiness, and a user per job."""

from __future__ import annotations

import subprocess

from common.clients.neo4j import connected
from common.errors import ServiceNotReady
from common.settings import ports
from stack.engine.context import ServiceContext
from stack.engine.fetch import java_program
from stack.engine.probe import accepts_connections


def set_first_password(context: ServiceContext) -> None:
    """Set the password of user `neo4j` for the first start; later starts do nothing.

    The tool gets it in a file with mode 0600, because anybody may read a command line.

    Raises:
        ServiceNotReady: The tool failed; the message holds the end of its output.
    """
    # The first start makes this folder. Until then the tool may run any number of times.
    if (context.data / "data" / "databases" / "system").exists():
        return
    command = [str(java_program()), f"@{context.conf / 'first-password.options'}"]
    env = context.env({"NEO4J_HOME": str(context.data), "NEO4J_CONF": str(context.conf)})
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        end = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
        raise ServiceNotReady(f"Neo4j's first password was not set:\n{end}", next_command="tickhouse doctor")


def is_ready(context: ServiceContext) -> bool:
    """Return whether the server and its database answer; it opens its ports earlier."""
    if not all(accepts_connections(f"127.0.0.1:{ports()[name]}") for name in context.service.ports):
        return False
    with connected(context.settings, "admin") as graph:
        graph.read("RETURN 1 AS one")
    return True


def create_users(context: ServiceContext) -> None:
    """Create the users of synchronization and CLI, with their own passwords.

    The community edition has no roles: each user may do everything. So the CLI reads in
    transactions that the server refuses to let write (`common.clients.neo4j.Graph.read`).

    Raises:
        StoreUnavailable: Neo4j does not answer.
    """
    with connected(context.settings, "admin", database="system") as system:
        for role in ("writer", "reader"):
            user, password = context.settings.neo4j_login(role)[1:]
            statement = (
                "CREATE USER $user IF NOT EXISTS SET PLAINTEXT PASSWORD $password SET PASSWORD CHANGE NOT REQUIRED"
            )
            system.write(statement, {"user": user, "password": password})
