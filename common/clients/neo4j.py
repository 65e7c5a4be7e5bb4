"""Sessions of Neo4j: reads that cannot write, and writes in one transaction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from common.errors import ConfigurationError, StoreUnavailable
from common.settings import Settings

if TYPE_CHECKING:
    from neo4j import Driver

CONNECT_S = 10.0
# How long the driver repeats a transaction that another one blocked.
RETRY_S = 30.0
# The one database of the community edition.
DATABASE = "neo4j"

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Graph:
    """One database, as one user."""

    driver: Driver
    database: str

    def read(self, query: str, parameters: Mapping[str, Any] | None = None) -> list[Row]:
        """Return the rows of a query; the server refuses one that writes."""
        return self._run(query, parameters, "r")

    def write(self, query: str, parameters: Mapping[str, Any] | None = None) -> list[Row]:
        """Run a query in a transaction of its own and return its rows."""
        return self._run(query, parameters, "w")

    def _run(self, query: str, parameters: Mapping[str, Any] | None, routing: str) -> list[Row]:
        from neo4j import RoutingControl

        result = self.driver.execute_query(
            query,
            dict(parameters or {}),
            database_=self.database,
            routing_=RoutingControl(routing),
        )
        return [record.data() for record in result.records]


@contextmanager
def connected(settings: Settings, role: str, database: str = DATABASE) -> Iterator[Graph]:
    """Open a session as one of `SINK_ROLES`, and close it.

    Args:
        settings: Address and passwords.
        role: One of `SINK_ROLES`.
        database: `neo4j`, or `system` for users.

    Raises:
        ConfigurationError: A query is wrong, or writes where it may only read.
        StoreUnavailable: The server does not answer, or refuses the login.
    """
    from neo4j import GraphDatabase
    from neo4j.exceptions import AuthError, ClientError, DriverError, Neo4jError

    address, user, password = settings.neo4j_login(role)
    try:
        with GraphDatabase.driver(
            address,
            auth=(user, password),
            connection_timeout=CONNECT_S,
            connection_acquisition_timeout=CONNECT_S,
            max_transaction_retry_time=RETRY_S,
            notifications_min_severity="OFF",
            telemetry_disabled=True,
        ) as driver:
            yield Graph(driver, database)
    except (AuthError, DriverError) as error:
        raise StoreUnavailable(f"Neo4j does not answer: {error}", next_command="tickhouse logs neo4j") from error
    except ClientError as error:
        raise ConfigurationError(f"Neo4j refuses the query: {error.message}") from error
    except Neo4jError as error:
        raise StoreUnavailable(f"Neo4j does not answer: {error}", next_command="tickhouse logs neo4j") from error
