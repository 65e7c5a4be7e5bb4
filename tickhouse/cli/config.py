"""`tickhouse config show`: every setting and where it comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import typer

from tickhouse.cli.options import JsonOption

if TYPE_CHECKING:
    from common.settings import Settings


config = typer.Typer(name="config", no_args_is_help=True, help="Show the configuration.")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(config)


@config.callback()
def _group() -> None:
    """Keep the name `show`: Typer drops the name of a group's only command."""


@config.command()
def show(json: JsonOption = False) -> None:
    """Show every setting, without secrets, and where its value comes from."""
    from common.settings import home, load_settings
    from tickhouse.cli.output import print_json
    from tickhouse.cli.render.tables import show_table

    settings = load_settings()
    rows = [
        {"setting": name.upper(), "value": redacted(settings, name), "origin": settings.origin(name)}
        for name in type(settings).model_fields
    ]
    if json:
        print_json({"home": str(home()), "settings": rows})
        return
    show_table(("setting", "value", "origin"), [tuple(row.values()) for row in rows])


def redacted(settings: Settings, name: str) -> str:
    """Return a setting's value without secrets; an address is shown without its password."""
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
