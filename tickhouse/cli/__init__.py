"""The `tickhouse` command. Every module here that has `register(app)` adds its commands.

Heavy imports stay inside the commands, so that `tickhouse --help` answers at once.
"""

from __future__ import annotations

import errno
import pkgutil
from collections.abc import Callable
from importlib import import_module
from typing import Annotated, Any

import typer
from typer._click import Context
from typer.core import TyperGroup

from common.errors import ServiceNotReady, TickhouseError, TransientError, UnknownName
from tickhouse.cli.output import HAS_PRINTED_JSON, IS_WIDE, print_json

# In the context of a call: whether it was called with --json.
_HAS_JSON = "tickhouse.has_json"
# Options of the root that a person may also give after the command.
_ANYWHERE = ("--demo", "--wide")


class CommandGroup(TyperGroup):
    """Prints our own errors without a traceback: message, what is safe and the next command."""

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        """Parse the arguments, with `--demo` and `--wide` accepted after the command as well."""
        anywhere = [word for word in _ANYWHERE if word in args]
        args = [*anywhere, *(word for word in args if word not in anywhere)]
        ctx.meta[_HAS_JSON] = "--json" in args
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Context) -> Any:
        """Run the command; our own errors end it with their exit code.

        With `--json` the error is one JSON document on standard output too.
        """
        try:
            return super().invoke(ctx)
        except (TickhouseError, OSError) as error:
            known = error if isinstance(error, TickhouseError) else _disk_full(error)
            show_error(known)
            if ctx.meta[_HAS_JSON] and not ctx.meta.get(HAS_PRINTED_JSON):
                print_error_as_json(known)
            raise typer.Exit(known.exit_code) from error


def _disk_full(error: OSError) -> TickhouseError:
    """Return our error of a full disk; any other error of the system is raised again."""
    if error.errno != errno.ENOSPC:
        raise error
    return ServiceNotReady(
        f"The disk is full: {error.filename or error}.",
        safe="Acknowledged records are kept.",
        next_command="free some space, then tickhouse up",
        page="disk-almost-full",
    )


app = typer.Typer(
    name="tickhouse",
    cls=CommandGroup,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_show_locals=False,  # locals may hold a password
    help="A crypto market-data lakehouse: every event in every store exactly once.",
)


def _show_version(is_asked: bool) -> None:
    if is_asked:
        from importlib.metadata import version

        typer.echo(f"tickhouse {version('tickhouse')}")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    demo: Annotated[
        bool, typer.Option("--demo", help="Use the demo's lakehouse, which `tickhouse demo` leaves running.")
    ] = False,
    wide: Annotated[bool, typer.Option("--wide", help="Show whole tables, however narrow the terminal is.")] = False,
    version: Annotated[  # its callback does it
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Choose the lakehouse that the command works on."""
    context.meta[IS_WIDE] = wide
    if demo:
        from tickhouse.demo.home import enter

        enter()


def show_error(error: TickhouseError) -> None:
    """Print what happened, what is safe, what to run next and which page has more, on stderr."""
    typer.secho(f"{type(error).__name__}: ", fg="red", bold=True, nl=False, err=True)
    typer.echo(error.message, err=True)
    if error.safe:
        typer.echo(f"Safe: {error.safe}", err=True)
    if error.next_command:
        typer.echo(f"Next: {error.next_command}", err=True)
    if not isinstance(error, UnknownName):  # its message has all that there is to know
        typer.echo(f"More: {error.runbook}", err=True)
    if isinstance(error, TransientError):
        _point_to_demo()


def print_error_as_json(error: TickhouseError) -> None:
    """Write an error as JSON to standard output."""
    said = {"message": error.message, "safe": error.safe, "next": error.next_command, "runbook": error.runbook}
    print_json({"error": {"type": type(error).__name__, **said, "exit_code": error.exit_code}})


def _point_to_demo() -> None:
    """Mention `--demo` when the demo's lakehouse is the only one."""
    from common.settings import home
    from tickhouse.demo.home import demo_home, is_demo

    if not home().exists() and is_demo(demo_home(home())):
        typer.echo("Only the demo's lakehouse exists: use tickhouse --demo.", err=True)


def _load_commands() -> None:
    for module in sorted(pkgutil.iter_modules(__path__), key=lambda info: info.name):
        register: Callable[[typer.Typer], None] | None = getattr(
            import_module(f"{__name__}.{module.name}"), "register", None
        )
        if register is not None:
            register(app)


_load_commands()
