"""Connections to PostgreSQL: a read-only one, and one that is opened again when it was lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from common.errors import StoreUnavailable

CONNECT_S = 10


@contextmanager
def read_only(dsn: str) -> Iterator[psycopg.Connection[Any]]:
    """Open a read-only connection and close it.

    Raises:
        StoreUnavailable: PostgreSQL does not answer, refuses the login, or lacks a table.
    """
    try:
        with psycopg.connect(dsn, connect_timeout=CONNECT_S) as connection:
            connection.read_only = True
            yield connection
    except psycopg.Error as error:
        raise StoreUnavailable(
            f"PostgreSQL cannot be read: {str(error).strip()}",
            safe="Nothing was changed.",
            next_command="tickhouse status",
        ) from error


class LastingConnection:
    """One connection that is opened when first needed, and again after an error.

    Args:
        dsn: The database and its login.
        application_name: What `pg_stat_activity` shows.
        prepare: Is called with each new connection, for example to register adapters.
    """

    def __init__(
        self, dsn: str, application_name: str, prepare: Callable[[psycopg.Connection[Any]], None] | None = None
    ) -> None:
        self._dsn = dsn
        self._application_name = application_name
        self._prepare = prepare
        self._connection: psycopg.Connection[Any] | None = None

    @contextmanager
    def transaction(self) -> Iterator[psycopg.Connection[Any]]:
        """Open a transaction; it is committed at the end, or rolled back after an error.

        Raises:
            psycopg.Error: PostgreSQL does not answer, or refuses a statement.
        """
        try:
            if self._connection is None or self._connection.closed:
                self._connection = psycopg.connect(
                    self._dsn, connect_timeout=CONNECT_S, application_name=self._application_name
                )
                if self._prepare is not None:
                    self._prepare(self._connection)
            with self._connection.transaction():
                yield self._connection
        except psycopg.Error:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
