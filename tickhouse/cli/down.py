"""`tickhouse down`: stop everything."""

from __future__ import annotations

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(down)


def down(
    purge: Annotated[bool, typer.Option("--purge", help="Also remove all data, logs and secrets.")] = False,
) -> None:
    """Stop every service, dependants first, and the supervisor; data stays without --purge."""
    from stack.engine.lifecycle import down as take_down
    from tickhouse.cli.output import Progress

    with Progress() as progress:
        take_down(purge=purge, report=progress)
