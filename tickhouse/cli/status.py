"""`tickhouse status`: the services, and what is in the pipeline."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tickhouse.cli.options import JsonOption

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

WATCH_EVERY_S = 2.0
# Most silent or refused streams to list; `--json` has all of them.
MOST_LISTED = 10
# Most growing stores to list; `--json` has all of them.
MOST_GROWING = 5
# A disk that will be full within so many days is shown in red.
SOON_DAYS = 14

HEALTH = {"ready": "[green]ready[/]", "not ready": "[red]not ready[/]", "stopped": "[dim]stopped[/]"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(status)


def status(
    watch: Annotated[bool, typer.Option("--watch", help="Refresh every two seconds until Ctrl-C.")] = False,
    json: JsonOption = False,
) -> None:
    """Show every service (state, probe, memory) and what is in Kafka, the stores and the lake."""
    if json:
        from tickhouse.cli.output import print_json

        print_json(_gather())
    elif watch:
        _watch()
    else:
        from tickhouse.cli.render.tables import result_console

        result_console().print(_draw(_gather()))


def _gather() -> dict[str, Any]:
    from common.market_kind import is_simulated
    from common.settings import home, load_settings
    from stack.engine.service_status import disk, status
    from tickhouse.status.disk_forecast import forecast
    from tickhouse.status.disk_history import record
    from tickhouse.status.pipeline import pipeline_status

    return {
        "home": str(home()),
        "is_simulated": is_simulated(home()),
        "disk": {**disk().as_dict(), "forecast": forecast(record(home())).as_dict()},
        "services": [service.as_dict() for service in status()],
        "pipeline": pipeline_status(load_settings()),
    }


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

    from common.market_kind import BANNER

    banner = [f"[bold yellow]{BANNER}[/]"] if document["is_simulated"] else []
    services, disk, pipeline = document["services"], document["disk"], document["pipeline"]
    return Group(*banner, _services_table(services), _disk_line(disk), _pipeline_table(pipeline))


def _disk_line(disk: dict[str, Any]) -> str:
    line = f"\ndisk  {disk['free_gb']:,} of {disk['total_gb']:,} GB free at {disk['folder']}"
    if disk["is_low"]:
        line = f"[red]{line}: servers will soon fail to write. Free space, then tickhouse up[/]"
    return line + _forecast_lines(disk["forecast"])


def _forecast_lines(forecast: dict[str, Any]) -> str:
    """Return when the disk is full, and the stores that grow most."""
    days = forecast["days_until_full"]
    is_soon = days is not None and days < SOON_DAYS
    words = f"[red]{forecast['in_words']}[/]" if is_soon else forecast["in_words"]
    growing = sorted(
        ((size, name) for name, size in forecast["growth_bytes_per_day"].items() if size > 0), reverse=True
    )
    most = ", ".join(f"{name} {size / 1e6:,.1f} MB" for size, name in growing[:MOST_GROWING])
    return f"\n      {words}" + (f"\n      growth per day: {most}" if most else "")


def _services_table(services: list[dict[str, Any]]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("service", "state", "health", "pid", "memory", "up", "ports"):
        table.add_column(name, overflow="fold")
    for service in services:
        pids = " ".join(map(str, service["pids"])) or "-"
        ports = " ".join(map(str, service["ports"]))
        memory = f"{service['memory_mb']} MB" if service["pids"] else "-"
        uptime = _duration(service["uptime_s"])
        table.add_row(service["name"], service["state"], HEALTH[service["health"]], pids, memory, uptime, ports)
    return table


def _pipeline_table(pipeline: dict[str, dict[str, Any]]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("\n[bold]pipeline", "", ""):
        table.add_column(name, overflow="fold")
    for section, values in pipeline.items():
        if "error" in values:
            table.add_row(section, f"[red]{values['error']['type']}[/]", values["error"]["message"])
            continue
        for name, value in values.items():
            for row, (label, figure) in enumerate(_lines(name, value)):
                table.add_row(section if row == 0 else "", label, figure)
    return table


def _lines(name: str, value: object) -> list[tuple[str, str]]:
    if name in ("silent_streams", "refused_streams") and isinstance(value, dict):
        return _stream_problems(name, value)
    if isinstance(value, dict):
        return [(f"{name} {key}", _figure(figure)) for key, figure in value.items()] or [(name, "-")]
    return [(name, _figure(value))]


def _stream_problems(name: str, streams: dict[str, float]) -> list[tuple[str, str]]:
    """Return the number of streams, then the first ones with their silence or Binance's code."""
    text = "for {} s, filled from REST" if name == "silent_streams" else "REST answers {}"
    count = f"[red]{len(streams)}[/]" if streams else "0"
    return [
        (name, count),
        *((f"  {stream}", text.format(value)) for stream, value in list(streams.items())[:MOST_LISTED]),
    ]


def _figure(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _duration(seconds: int) -> str:
    if not seconds:
        return "-"
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"
