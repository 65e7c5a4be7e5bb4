"""`tickhouse down`: stop everything."""

from __future__ import annotations

from typing import Annotated

import typer

from tickhouse.cli.options import JsonOption


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(down)


def down(
    purge: Annotated[bool, typer.Option("--purge", help="Also remove all data, logs and secrets.")] = False,
    json: JsonOption = False,
) -> None:
    """Stop every service, dependants first, and the supervisor; data stays without --purge."""
    from common.settings import home
    from stack.engine.lifecycle import down as take_down
    from tickhouse.cli.output import Progress, print_json

    with Progress() as progress:
        take_down(purge=purge, report=progress)
    if json:
        print_json({"home": str(home()), "is_purged": purge})
