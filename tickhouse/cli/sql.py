"""`tickhouse sql`: ask PostgreSQL with the reader's login."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tickhouse.cli.options import JsonOption

if TYPE_CHECKING:
    from common.settings import Settings


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(sql)


def sql(
    query: Annotated[str, typer.Argument(help="A query; without it psql starts.")] = "", json: JsonOption = False
) -> None:
    """Run a query on PostgreSQL, or start psql; the login may only read."""
    from common.settings import load_settings
    from tickhouse.cli.output import print_json
    from tickhouse.cli.render.tables import show_table

    settings = load_settings()
    if not query:
        _start_psql(settings)
    columns, rows = _ask(settings, query)
    if json:
        print_json([dict(zip(columns, map(_plain, row), strict=True)) for row in rows])
    else:
        show_table(columns, [["" if cell is None else _plain(cell) for cell in row] for row in rows], empty="no rows")


def _ask(settings: Settings, query: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    import psycopg

    from common.clients.postgres import read_only
    from common.errors import ConfigurationError

    with read_only(settings.database_dsn("reader")) as connection:
        try:
            cursor = connection.execute(query.encode())
        except psycopg.OperationalError:
            raise  # the server, and not the query
        except psycopg.Error as error:
            message = f"PostgreSQL refuses the query: {str(error).strip()}"
            raise ConfigurationError(message, safe="Nothing was changed.") from error
        columns = [column.name for column in cursor.description or ()]
        return columns, cursor.fetchall() if columns else []


def _plain(value: Any) -> Any:
    """Return a value as it is written: decimals with all digits, times in ISO 8601."""
    from datetime import date, datetime
    from decimal import Decimal

    if isinstance(value, Decimal):
        return f"{value:f}"
    return value.isoformat() if isinstance(value, datetime | date) else value


def _start_psql(settings: Settings) -> None:
    """Replace this process by psql; the password is in the environment, not in the arguments."""
    import os

    from psycopg.conninfo import conninfo_to_dict

    from stack.engine.fetch import fetch
    from stack.engine.lifecycle import catalog

    of_variable = {
        "PGHOST": "host",
        "PGPORT": "port",
        "PGDATABASE": "dbname",
        "PGUSER": "user",
        "PGPASSWORD": "password",
    }
    given = conninfo_to_dict(settings.database_dsn("reader"))
    login = {variable: str(given[name]) for variable, name in of_variable.items() if name in given}
    program = fetch(catalog()["postgres"])["bin"] / "psql"
    environment = os.environ | login | {"PGOPTIONS": "-c default_transaction_read_only=on"}
    os.execve(program, [str(program)], environment)  # noqa: S606
