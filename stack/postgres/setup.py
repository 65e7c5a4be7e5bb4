"""Hooks of PostgreSQL: create the cluster, its roles and databases, apply the migrations."""

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

from common.errors import ConfigurationError, ServiceNotReady
from common.settings import REPO, Settings, ports
from stack.engine.context import ServiceContext

if TYPE_CHECKING:
    from psycopg import Connection

MIGRATIONS = REPO / "stack" / "postgres" / "migrations"

# Role to the settings field with its password. Each role is for one job (see
# Settings.database_dsn).
ROLES = {
    "tickhouse_owner": "postgres_owner_password",
    "tickhouse_stream": "postgres_stream_password",
    "tickhouse_batch": "postgres_batch_password",
    "tickhouse_reader": "postgres_reader_password",
    "tickhouse_operator": "postgres_operator_password",
    "tickhouse_watcher": "postgres_watcher_password",
    "tickhouse_notifier": "postgres_notifier_password",
    "tickhouse_api": "postgres_api_password",
    "airflow": "postgres_airflow_password",
}
DATABASES = {"tickhouse": "tickhouse_owner", "airflow": "airflow"}

# The tasks of Airflow's scheduler are forked from it and keep its connection open. So when it is
# killed within a transaction, the server sees no end of the session, whose locks then stop every
# later scheduler for as long as one of those tasks runs: for good, because of the streaming job.
IDLE_IN_TRANSACTION = {"airflow": "60s"}

_CONNECT = sql.SQL("GRANT CONNECT, TEMPORARY ON DATABASE tickhouse TO {}")

_END_IDLE_TRANSACTIONS = sql.SQL("ALTER ROLE {} SET idle_in_transaction_session_timeout = {}")

# An arbitrary number, the same in every process, so that two `up` do not apply a migration twice.
MIGRATION_LOCK = 7_411_001


def init_cluster(context: ServiceContext) -> None:
    """Run initdb in an empty data folder; an initialised folder is not changed.

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
    """Write the superuser's password to a temporary file that only initdb's user can read."""
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


def is_ready(context: ServiceContext) -> bool:
    """Return whether the server accepts sessions; while it recovers, its port is already open."""
    try:
        with closing(_superuser(context.settings)):
            return True
    except psycopg.OperationalError:
        return False


def create_roles_and_databases(context: ServiceContext) -> None:
    """Create the missing roles with their passwords, and the missing databases."""
    with closing(_superuser(context.settings)) as connection:
        for role, field in ROLES.items():
            _create_role(connection, role, getattr(context.settings, field).get_secret_value())
        for role, limit in IDLE_IN_TRANSACTION.items():
            connection.execute(_END_IDLE_TRANSACTIONS.format(sql.Identifier(role), sql.Literal(limit)))
        for database, owner in DATABASES.items():
            _create_database(connection, database, owner)
        # Granted at every start, because a role may be newer than the database.
        for role in ROLES.keys() - set(DATABASES.values()):
            connection.execute(_CONNECT.format(sql.Identifier(role)))


def migrate(context: ServiceContext) -> None:
    """Apply each of `stack/postgres/migrations/*.sql` once, in name order, all in one transaction.

    Raises:
        ConfigurationError: A file was changed after it had been applied, or a file fails; the
            message names it.
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
            next_command=f"restore {path.relative_to(REPO)} with git checkout, and put the change into a new file",
        )
    try:
        connection.execute(text.encode())
    except psycopg.Error as error:
        raise ConfigurationError(
            f"Migration {path.name} fails: {error}", safe="All migrations of this start were rolled back."
        ) from error
    connection.execute("INSERT INTO public.schema_migrations (name, sha256) VALUES (%s, %s)", [path.name, sha256])


def _create_role(connection: Connection, role: str, password: str) -> None:
    row = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone()
    if not row:
        statement = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(role), sql.Literal(password))
        connection.execute(statement)


def _create_database(connection: Connection, database: str, owner: str) -> None:
    if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database]).fetchone():
        return
    names = sql.Identifier(database), sql.Identifier(owner)
    connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(*names))
    # Each database is for its own roles, so others may not connect.
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
