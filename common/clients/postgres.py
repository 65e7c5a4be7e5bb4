"""A read-only connection to PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
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
