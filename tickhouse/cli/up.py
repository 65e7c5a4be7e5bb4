"""`tickhouse up`: start a profile."""

from __future__ import annotations

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def up(
        profile: Annotated[str, typer.Option(help="core, demo, ... or full.")] = "core",
        service: Annotated[list[str] | None, typer.Option(help="Only this service and what it needs.")] = None,
        json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
    ) -> None:
        """Start every service of a profile, in order, and wait until each answers. What runs is left alone."""
        from stack.engine import status
        from stack.engine import up as bring_up
        from tickhouse.cli._show import Progress, print_json
        from tickhouse.settings import home, ports

        with Progress() as progress:
            started = bring_up(profile, service, report=progress)
        if json:
            used = {one.name: one.memory_mb for one in status()}
            services = [
                {"name": one.service, "state": one.state, "seconds": one.seconds, "memory_mb": used[one.service]}
                for one in started
            ]
            print_json({"home": str(home()), "services": services, "ports": ports()})
