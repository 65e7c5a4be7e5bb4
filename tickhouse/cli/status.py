"""`tickhouse status`: what runs and what the pipeline holds."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

WATCH_EVERY_S = 2.0

HEALTH = {"ready": "[green]ready[/]", "not ready": "[red]not ready[/]", "stopped": "[dim]stopped[/]"}


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def status(
        watch: Annotated[bool, typer.Option("--watch", help="Draw again every two seconds until Ctrl-C.")] = False,
        json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
    ) -> None:
        """Show every service (state, probe, memory) and what Kafka, the stores and the lake hold."""
        if json:
            from tickhouse.cli._show import print_json

            print_json(_gather())
        elif watch:
            _watch()
        else:
            from rich.console import Console

            Console(highlight=False).print(_draw(_gather()))


def _gather() -> dict[str, Any]:
    from stack.engine import status
    from stack.engine.pulse import pulse
    from tickhouse.settings import home, load_settings

    services = [one.as_dict() for one in status()]
    return {"home": str(home()), "services": services, "pipeline": pulse(load_settings())}


def _watch() -> None:
    from rich.live import Live

    with Live(screen=True, auto_refresh=False) as live:
        try:
            while True:
                live.update(_draw(_gather()), refresh=True)
                time.sleep(WATCH_EVERY_S)
        except KeyboardInterrupt:
            return


def _draw(document: dict[str, Any]) -> Group:
    from rich.console import Group

    return Group(_services(document["services"]), _pipeline(document["pipeline"]))


def _services(services: list[dict[str, Any]]) -> Table:
    from rich.table import Table

    table = Table("service", "state", "answers", "pid", "memory", "up", "ports", box=None, pad_edge=False)
    for one in services:
        pids = " ".join(map(str, one["pids"])) or "-"
        listens = " ".join(map(str, one["ports"]))
        memory = f"{one['memory_mb']} MB" if one["pids"] else "-"
        table.add_row(
            one["name"], one["state"], HEALTH[one["health"]], pids, memory, _duration(one["uptime_s"]), listens
        )
    return table


def _pipeline(pipeline: dict[str, dict[str, Any]]) -> Table:
    from rich.table import Table

    table = Table("\n[bold]pipeline", "", "", box=None, pad_edge=False, show_header=True)
    for section, values in pipeline.items():
        if "error" in values:
            table.add_row(section, f"[red]{values['error']['type']}[/]", values["error"]["message"])
            continue
        for name, value in values.items():
            for row, (label, figure) in enumerate(_lines(name, value)):
                table.add_row(section if row == 0 else "", label, figure)
    return table


def _lines(name: str, value: object) -> list[tuple[str, str]]:
    if isinstance(value, dict):
        return [(f"{name} {key}", _figure(one)) for key, one in value.items()] or [(name, "-")]
    return [(name, _figure(value))]


def _figure(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _duration(seconds: int) -> str:
    if not seconds:
        return "-"
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"
