"""`tickhouse config show`: every setting and where it comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit, urlunsplit

import typer

if TYPE_CHECKING:
    from tickhouse.settings import Settings


def register(app: typer.Typer) -> None:
    """Add the commands."""
    config = typer.Typer(no_args_is_help=True, help="The configuration in force.")
    app.add_typer(config, name="config")

    @config.callback()
    def _group() -> None:
        """Keep `show` a command of its own name though it is the only one."""

    @config.command()
    def show(
        json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
    ) -> None:
        """Show every setting, secrets redacted, and where its value comes from."""
        from tickhouse.settings import home, load_settings

        settings = load_settings()
        rows = [
            {"setting": name.upper(), "value": redacted(settings, name), "origin": settings.origin(name)}
            for name in type(settings).model_fields
        ]
        if json:
            from tickhouse.cli._show import print_json

            print_json({"home": str(home()), "settings": rows})
        else:
            from rich.console import Console
            from rich.table import Table

            table = Table("setting", "value", "origin", box=None, pad_edge=False)
            for row in rows:
                table.add_row(*row.values())
            Console(highlight=False).print(table)


def redacted(settings: Settings, name: str) -> str:
    """Return a setting's value fit to be shown: an address without its password, of a secret only whether it is set."""
    from pydantic import SecretStr

    value = getattr(settings, name)
    if not isinstance(value, SecretStr):
        return str(value)
    text = value.get_secret_value()
    if "://" not in text:
        return "(set)" if text else "(not set)"
    parts = urlsplit(text)
    login, at, address = parts.netloc.rpartition("@")
    user = login.partition(":")[0]
    return urlunsplit(parts._replace(netloc=f"{user}:***{at}{address}" if at else address))
