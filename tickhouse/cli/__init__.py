"""The `tickhouse` command. Every module here that has `register(app)` adds its commands.

Heavy imports stay inside the commands, so that `tickhouse --help` answers at once.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from importlib import import_module
from typing import Any

import typer
from typer._click import Context
from typer.core import TyperGroup

from tickhouse.errors import TickhouseError


class _Commands(TyperGroup):
    """Shows our own errors as message, what is safe and the next command; never as a traceback."""

    def invoke(self, ctx: Context) -> Any:
        try:
            return super().invoke(ctx)
        except TickhouseError as error:
            show_error(error)
            raise typer.Exit(error.exit_code) from error


app = typer.Typer(
    name="tickhouse",
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,  # locals may hold a password
    help="A crypto market-data lakehouse: every event in every store exactly once.",
)


def show_error(error: TickhouseError) -> None:
    """Print what happened, what is safe and what to run next, on standard error."""
    typer.secho(f"{type(error).__name__}: ", fg="red", bold=True, nl=False, err=True)
    typer.echo(error.message, err=True)
    if error.safe:
        typer.echo(f"Safe: {error.safe}", err=True)
    if error.next_command:
        typer.echo(f"Next: {error.next_command}", err=True)


def _load_commands() -> None:
    for module in sorted(pkgutil.iter_modules(__path__), key=lambda found: found.name):
        register: Callable[[typer.Typer], None] | None = getattr(
            import_module(f"{__name__}.{module.name}"), "register", None
        )
        if register is not None:
            register(app)


_load_commands()
