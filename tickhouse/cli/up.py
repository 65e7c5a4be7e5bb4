"""`tickhouse up`: start a profile."""

from __future__ import annotations

from typing import Annotated

import typer

from tickhouse.cli.options import JsonOption


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(up)


def up(
    profile: Annotated[str, typer.Option(help="core, demo, ... or full.")] = "core",
    service: Annotated[list[str] | None, typer.Option(help="Only this service and those that it needs.")] = None,
    json: JsonOption = False,
) -> None:
    """Start a profile and wait until each service is ready; running services are unchanged."""
    from common.settings import home, ports
    from stack.engine.lifecycle import up as bring_up
    from stack.engine.service_status import status
    from tickhouse.cli.output import Progress, print_json

    with Progress() as progress:
        started = bring_up(profile, service, report=progress)
    if json:
        memory_mb = {service.name: service.memory_mb for service in status()}
        services = [
            {"name": row.service, "state": row.state, "seconds": row.seconds, "memory_mb": memory_mb[row.service]}
            for row in started
        ]
        print_json({"home": str(home()), "services": services, "ports": ports()})
