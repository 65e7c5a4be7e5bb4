"""Prepare what Grafana and Metabase need before they start: `python -m compose.boards`.

It runs at every start and is idempotent. It makes Metabase's own database, in which Metabase keeps
its users and questions, and it hands the token that InfluxDB generated for readers to Grafana, in
a volume that nobody else mounts.
"""

from __future__ import annotations

import os
import sys
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from common.clients.influxdb import token_of
from common.errors import ServiceNotReady, TickhouseError
from common.settings import Settings, load_settings

METABASE = "metabase"
TOKEN_FILE = "influxdb_reader_token"  # noqa: S105  # the name of the file


def main() -> int:
    """Prepare everything and return the exit code."""
    settings = load_settings()
    try:
        make_metabase_database(settings, os.environ["METABASE_DATABASE_PASSWORD"])
        write_token(settings, Path(os.environ["GRAFANA_MOUNT"]))
    except TickhouseError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


def make_metabase_database(settings: Settings, password: str) -> None:
    """Make role and database of Metabase as the superuser; others may not connect to it.

    Raises:
        ServiceNotReady: PostgreSQL does not answer.
    """
    role = sql.Identifier(METABASE)
    try:
        with closing(_superuser(settings)) as connection:
            if not _has(connection, "SELECT 1 FROM pg_roles WHERE rolname = %s"):
                connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(role))
            connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(role, sql.Literal(password)))
            if not _has(connection, "SELECT 1 FROM pg_database WHERE datname = %s"):
                connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(role, role))
            connection.execute(sql.SQL("REVOKE CONNECT, TEMPORARY ON DATABASE {} FROM PUBLIC").format(role))
    except psycopg.OperationalError as error:
        raise ServiceNotReady(
            f"PostgreSQL does not answer: {error}".strip(),
            next_command="docker compose --profile core --profile observe up -d",
        ) from error


def write_token(settings: Settings, folder: Path) -> None:
    """Write InfluxDB's token for readers; without profile `stores` the file is empty.

    Grafana does not start without the file.
    """
    partial = folder / f"{TOKEN_FILE}.new"
    partial.write_text(token_of(settings, "reader"))
    # Grafana's user, who is unknown here, reads it; the volume is Grafana's alone.
    partial.chmod(0o644)
    partial.replace(folder / TOKEN_FILE)


def _has(connection: psycopg.Connection, query: str) -> bool:
    return connection.execute(query.encode(), [METABASE]).fetchone() is not None


def _superuser(settings: Settings) -> psycopg.Connection:
    parts = urlsplit(settings.database_url.get_secret_value())
    return psycopg.connect(
        host=parts.hostname,
        port=parts.port,
        user="postgres",
        password=settings.postgres_superuser_password.get_secret_value(),
        dbname="postgres",
        autocommit=True,
        connect_timeout=10,
    )


if __name__ == "__main__":
    sys.exit(main())
