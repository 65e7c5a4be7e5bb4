"""Hooks of Cassandra: readiness, roles, and the tables of `connectors/cassandra/*.cql`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from common.clients.cassandra import connected, session
from common.errors import ConfigurationError, StoreUnavailable
from common.settings import REPO, SINK_ROLES, Settings
from stack.engine.context import ServiceContext
from stack.engine.probe import accepts_connections

if TYPE_CHECKING:
    from cassandra.cluster import Session

TABLES = REPO / "connectors" / "cassandra"
KEYSPACE = "market"

# The superuser of an empty data folder. It may not log in any more once our administrator exists.
FIRST_USER = "cassandra"

RIGHTS = {"writer": "MODIFY", "reader": "SELECT"}


def is_ready(context: ServiceContext) -> bool:
    """Return whether the server accepts sessions; it opens its port earlier."""
    if not accepts_connections(context.settings.cassandra_contact_points.split(",")[0]):
        return False
    try:
        with _superuser(context.settings):
            return True
    except StoreUnavailable:
        return False


def create_roles(context: ServiceContext) -> None:
    """Create our administrator and the roles of connectors and CLI; disable the first superuser.

    Raises:
        StoreUnavailable: Cassandra does not respond.
    """
    with _superuser(context.settings) as root:
        for role in SINK_ROLES:
            user, password = context.settings.cassandra_login(role)
            is_admin = str(role == "admin").lower()
            root.execute(
                f"CREATE ROLE IF NOT EXISTS {user} "
                f"WITH PASSWORD = '{password}' AND LOGIN = true AND SUPERUSER = {is_admin}"
            )
    with connected(context.settings, "admin") as admin:
        admin.execute(f"ALTER ROLE {FIRST_USER} WITH SUPERUSER = false AND LOGIN = false")


def create_tables(context: ServiceContext) -> None:
    """Create the keyspace, apply the table files in name order, and grant each role its own right.

    Raises:
        ConfigurationError: A file is wrong; the message names it.
        StoreUnavailable: Cassandra does not respond.
    """
    with connected(context.settings, "admin") as admin:
        admin.execute(
            f"CREATE KEYSPACE IF NOT EXISTS {KEYSPACE} "
            "WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}"
        )
        for path in sorted(TABLES.glob("*.cql")):
            for statement in statements(path.read_text()):
                _apply(admin, statement, path.name)
        for role, right in RIGHTS.items():
            admin.execute(f"GRANT {right} ON KEYSPACE {KEYSPACE} TO {context.settings.cassandra_login(role)[0]}")


def statements(text: str) -> list[str]:
    """Return the statements of a CQL file without comments."""
    return [part.strip() for part in re.sub(r"--.*", "", text).split(";") if part.strip()]


def _apply(admin: Session, statement: str, name: str) -> None:
    from cassandra import RequestValidationException

    try:
        admin.execute(statement)
    except RequestValidationException as error:
        raise ConfigurationError(f"connectors/cassandra/{name} is wrong: {error}.") from error


@contextmanager
def _superuser(settings: Settings) -> Iterator[Session]:
    """Open a session as our administrator, or at the first start as Cassandra's first superuser."""
    is_first = False
    try:
        with connected(settings, "admin"):
            pass
    except StoreUnavailable:
        is_first = True
    with session(settings, (FIRST_USER, FIRST_USER)) if is_first else connected(settings, "admin") as opened:
        yield opened
