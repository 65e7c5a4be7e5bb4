"""PostgreSQL: make the cluster, its roles and databases, and apply the migrations."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from stack.engine.context import ServiceContext
from tickhouse.errors import ConfigurationError, ServiceNotReady
from tickhouse.settings import REPO, Settings, ports

if TYPE_CHECKING:
    from psycopg import Connection

MIGRATIONS = REPO / "stack" / "postgres" / "migrations"

# Role to the settings field with its password; each is one job (see Settings.database_dsn).
ROLES = {
    "tickhouse_owner": "postgres_owner_password",
    "tickhouse_stream": "postgres_stream_password",
    "tickhouse_batch": "postgres_batch_password",
    "tickhouse_reader": "postgres_reader_password",
    "tickhouse_operator": "postgres_operator_password",
    "airflow": "postgres_airflow_password",
}
DATABASES = {"tickhouse": "tickhouse_owner", "airflow": "airflow"}

_CONNECT = sql.SQL("GRANT CONNECT, TEMPORARY ON DATABASE tickhouse TO {}")

# Any number, the same in every process: two `up` must not apply one migration twice.
MIGRATION_LOCK = 7_411_001


def init_cluster(context: ServiceContext) -> None:
    """Run initdb into an empty data folder; an initialised one is left as it is.

    Raises:
        ServiceNotReady: initdb failed; the message holds its output.
    """
    if (context.data / "PG_VERSION").exists():
        return
    with _password_file(context) as password_file:
        command = [
            *context.prefix,
            str(context.fetched["bin"] / "initdb"),
            *("-D", str(context.data), "-U", "postgres", f"--pwfile={password_file}", "--auth=scram-sha-256"),
            *("-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions"),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=context.env(), cwd="/")
    if done.returncode != 0:
        raise ServiceNotReady(f"initdb failed: {done.stdout}{done.stderr}", next_command="tickhouse doctor")


@contextmanager
def _password_file(context: ServiceContext) -> Iterator[Path]:
    """Write the superuser's password where only the user that initdb runs as can read it, for a moment."""
    path = context.data.with_name("postgres.password")
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(context.settings.postgres_superuser_password.get_secret_value() + "\n")
    owner = context.data.stat()
    os.chown(path, owner.st_uid, owner.st_gid)
    try:
        yield path
    finally:
        path.unlink()


def answers(context: ServiceContext) -> bool:
    """Return whether the server takes sessions (it listens earlier, while it recovers)."""
    try:
        with closing(_superuser(context.settings)):
            return True
    except psycopg.OperationalError:
        return False


def create_roles_and_databases(context: ServiceContext) -> None:
    """Make the roles with their passwords and the databases they own; existing ones stay."""
    with closing(_superuser(context.settings)) as connection:
        for role, field in ROLES.items():
            _create_role(connection, role, getattr(context.settings, field).get_secret_value())
        for database, owner in DATABASES.items():
            _create_database(connection, database, owner)
        for role in ROLES.keys() - set(DATABASES.values()):  # each time: a role may be newer than its database
            connection.execute(_CONNECT.format(sql.Identifier(role)))


def migrate(context: ServiceContext) -> None:
    """Apply `stack/postgres/migrations/*.sql` in name order as the owner, each in one transaction, each once.

    Raises:
        ConfigurationError: An applied file was changed afterwards, or a file fails; the message names it.
    """
    with psycopg.connect(context.settings.database_dsn("owner"), connect_timeout=10) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [MIGRATION_LOCK])
        connection.execute(
            "CREATE TABLE IF NOT EXISTS public.schema_migrations ("
            "name text PRIMARY KEY, sha256 text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        rows = connection.execute("SELECT name, sha256 FROM public.schema_migrations").fetchall()
        applied: dict[str, str] = dict(rows)
        for path in sorted(MIGRATIONS.glob("*.sql")):
            _apply(connection, path, applied.get(path.name))


def _apply(connection: Connection, path: Path, applied_sha256: str | None) -> None:
    text = path.read_text()
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    if applied_sha256 == sha256:
        return
    if applied_sha256 is not None:
        raise ConfigurationError(
            f"Migration {path.name} was changed after it had been applied.",
            safe="The database was not touched.",
            next_command=f"git checkout {path.relative_to(REPO)}, and put the change into a new file",
        )
    try:
        connection.execute(text.encode())
    except psycopg.Error as error:
        raise ConfigurationError(
            f"Migration {path.name} fails: {error}", safe="It was rolled back, with those after it."
        ) from error
    connection.execute("INSERT INTO public.schema_migrations (name, sha256) VALUES (%s, %s)", [path.name, sha256])


def _create_role(connection: Connection, role: str, password: str) -> None:
    found = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone()
    if not found:
        statement = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(role), sql.Literal(password))
        connection.execute(statement)


def _create_database(connection: Connection, database: str, owner: str) -> None:
    if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database]).fetchone():
        return
    names = sql.Identifier(database), sql.Identifier(owner)
    connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(*names))
    # Each database is for its own roles: nobody connects by default.
    connection.execute(sql.SQL("REVOKE CONNECT, TEMPORARY ON DATABASE {} FROM PUBLIC").format(names[0]))


def _superuser(settings: Settings) -> Connection:
    return psycopg.connect(
        host="127.0.0.1",
        port=ports()["postgres"],
        user="postgres",
        password=settings.postgres_superuser_password.get_secret_value(),
        dbname="postgres",
        autocommit=True,
        connect_timeout=5,
    )
