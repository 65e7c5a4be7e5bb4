"""`tickhouse connectors`: deploy the files of `connectors/` to the Connect worker."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tickhouse.cli.options import JsonOption

if TYPE_CHECKING:
    from common.clients.connect import Worker
    from tickhouse.connectors.files import Connector
    from tickhouse.connectors.plan import ConnectorChange

Name = Annotated[str, typer.Argument(help="Name of the connector, which is the name of its file.")]
Names = Annotated[list[str] | None, typer.Argument(help="Connectors; all when none is named.")]
Files = Annotated[
    list[Path] | None,
    typer.Option("--file", "-f", help="A connector file outside connectors/. May be repeated.", dir_okay=False),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]

MARKS = {
    "create": "[green]+ create[/]",
    "update": "[yellow]~ update[/]",
    "none": "= unchanged",
    "unknown": "[red]? no file[/]",
}

connectors = typer.Typer(
    name="connectors",
    no_args_is_help=True,
    help="Deploy connectors/*.json to Kafka Connect and manage the connectors.",
)
offsets = typer.Typer(name="offsets", no_args_is_help=True, help="How far a connector has read.")
connectors.add_typer(offsets)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(connectors)


@connectors.command("ls")
def list_all(json: JsonOption = False) -> None:
    """List every connector that has a file or runs: state, tasks, lag, dead letters."""
    from common.settings import load_settings
    from tickhouse.cli.output import print_json
    from tickhouse.cli.render.tables import show_table
    from tickhouse.connectors.health import survey

    with _worker() as worker:
        surveyed = survey(worker, load_settings())
    if json:
        print_json([connector.document() for connector in surveyed])
        return
    rows = [
        (
            connector.name,
            connector.state,
            f"{connector.tasks_running}/{len(connector.tasks)}",
            ", ".join(connector.topics),
            "" if connector.lag_records is None else f"{connector.lag_records:,}",
            f"{connector.dead_letters:,}",
            "" if connector.has_file else "none",
        )
        for connector in surveyed
    ]
    columns = ("connector", "state", "tasks", "topics", "lag", "dead letters", "file")
    show_table(columns, rows, right=("lag", "dead letters"), optional=("topics", "file"))


@connectors.command()
def describe(name: Name, json: JsonOption = False) -> None:
    """Show one connector: configuration without secrets, tasks, errors, lag, dead letters."""
    from rich.console import Console

    from common.errors import ConfigurationError
    from common.settings import load_settings
    from tickhouse.cli.output import print_json
    from tickhouse.connectors.health import survey

    with _worker() as worker:
        by_name = {connector.name: connector for connector in survey(worker, load_settings())}
    if name not in by_name:
        raise ConfigurationError(f"There is no connector {name!r}; there are {', '.join(by_name)}.")
    if json:
        print_json(by_name[name].document())
        return
    console = Console(highlight=False, markup=False)
    for line in by_name[name].lines():
        console.print(line)


@connectors.command()
def plan(names: Names = None, files: Files = None, json: JsonOption = False) -> None:
    """Show what `apply` would change; exit code 10 on drift, 2 when the worker refuses a file."""
    from common.errors import ConfigurationError, DriftFound
    from tickhouse.cli.output import print_json
    from tickhouse.connectors import plan as plans

    wanted = _wanted(names, files)
    with _worker() as worker:
        changes = plans.plan(worker, wanted, is_whole=not names and not files)
    if json:
        print_json([change.document() for change in changes])
    else:
        _show(changes)
    faulty = {change.name: change.faults for change in changes if change.faults}
    if faulty:
        raise ConfigurationError(f"The worker refuses {plans.faults_text(faulty)}", safe="Nothing was changed.")
    drift = [change.name for change in changes if change.is_drift]
    if drift:
        raise DriftFound(
            f"Files and worker differ: {', '.join(drift)}.",
            safe="Nothing was changed.",
            next_command="tickhouse connectors apply",
        )


@connectors.command()
def apply(names: Names = None, files: Files = None, json: JsonOption = False) -> None:
    """Validate all files, then apply those that changed to the worker."""
    from common.settings import load_settings
    from tickhouse.cli.output import print_json
    from tickhouse.connectors import plan as plans

    wanted = _wanted(names, files)
    with _worker() as worker:
        changes = plans.apply(worker, load_settings(), wanted)
    if json:
        print_json([change.document() for change in changes])
    else:
        _show(changes)


@connectors.command()
def restart(
    name: Name,
    failed: Annotated[bool, typer.Option("--failed", help="Restart only the parts that failed.")] = False,
    task: Annotated[int | None, typer.Option(min=0, help="Restart only this task, by its number.")] = None,
) -> None:
    """Restart a connector and its tasks; unconfirmed records are delivered again."""
    with _worker() as worker:
        if task is None:
            worker.restart(name, only_failed=failed)
        else:
            worker.restart_task(name, task)


@connectors.command()
def pause(name: Name) -> None:
    """Pause a connector until it is resumed."""
    with _worker() as worker:
        worker.pause(name)


@connectors.command()
def stop(name: Name) -> None:
    """Stop a connector: its tasks end, and its offsets stay. `resume` starts it again."""
    with _worker() as worker:
        worker.stop(name)


@connectors.command()
def resume(name: Name) -> None:
    """Resume a paused or stopped connector."""
    with _worker() as worker:
        worker.resume(name)


@connectors.command()
def delete(name: Name, yes: Yes = False) -> None:
    """Remove a connector from the worker; data and offsets stay, so `apply` continues from them."""
    if not yes:
        typer.confirm(f"Remove {name} from the worker?", abort=True, err=True)
    with _worker() as worker:
        worker.delete(name)


@connectors.command()
def plugins(json: JsonOption = False) -> None:
    """List what the worker can run: connectors, converters, transforms."""
    from tickhouse.cli.output import print_json
    from tickhouse.cli.render.tables import show_table

    with _worker() as worker:
        found = worker.plugins()
    if json:
        print_json(found)
    else:
        show_table(("type", "class", "version"), [(row["type"], row["class"], row["version"]) for row in found])


@connectors.command()
def logger(
    name: Annotated[str, typer.Argument(help="A logger of the worker; without it all are listed.")] = "",
    level: Annotated[str, typer.Argument(help="trace, debug, info, warn or error.")] = "",
    json: JsonOption = False,
) -> None:
    """Show the log levels of the worker, or set one until the worker restarts."""
    from tickhouse.cli.output import print_json
    from tickhouse.cli.render.tables import show_table
    from tickhouse.known_names import require_one

    if level:
        require_one("level", level.lower(), ("trace", "debug", "info", "warn", "error"))
    with _worker() as worker:
        if level:
            worker.set_log_level(name, level.upper())
        levels = {logger: found for logger, found in worker.log_levels().items() if name in ("", logger)}
    if json:
        print_json(levels)
    else:
        show_table(("logger", "level"), levels.items(), empty=f"{name} has no level of its own.")


@offsets.command("show")
def show_offsets(name: Name, json: JsonOption = False) -> None:
    """Show the next offset of each partition that a connector reads."""
    from tickhouse.cli.output import print_json
    from tickhouse.cli.render.tables import show_table

    with _worker() as worker:
        found = worker.offsets(name)
    if json:
        print_json(found)
    else:
        columns = ("topic", "partition", "offset")
        rows = [[row[column] for column in columns] for row in found]
        show_table(columns, rows, empty=f"{name} has not committed an offset yet.", right=columns[1:])


@offsets.command()
def reset(name: Name, yes: Yes = False) -> None:
    """Reset a connector to the start of its topics; shows first what is delivered again."""
    from common.settings import load_settings
    from tickhouse.connectors.health import redelivery

    with _worker() as worker:
        typer.echo(redelivery(worker, load_settings(), name), err=True)
        if not yes:
            typer.confirm("Reset?", abort=True, err=True)
        worker.reset_offsets(name)


def _wanted(names: list[str] | None, files: list[Path] | None) -> dict[str, Connector]:
    """Return the named connectors and those of files; without both all of connectors/."""
    from tickhouse.connectors.files import chosen, read, read_files

    of_folder = chosen(read(), names or []) if names or not files else {}
    return of_folder | read_files(files or [])


@contextmanager
def _worker() -> Iterator[Worker]:
    from common.clients.connect import Worker
    from common.settings import load_settings

    with Worker.of(load_settings()) as worker:
        yield worker


def _show(changes: list[ConnectorChange]) -> None:
    from rich.console import Console
    from rich.markup import escape

    console = Console(highlight=False)
    for change in changes:
        console.print(f"{MARKS[change.action]} {change.name}")
        for key, present, wanted in change.differences if change.action == "update" else ():
            console.print(f"    {escape(key)}: {_value(present)} -> {_value(wanted)}")
        for key, errors in change.faults.items():
            console.print(f"    [red]{escape(key)}: {escape(' '.join(errors))}[/]")


def _value(value: Any) -> str:
    from rich.markup import escape

    return "[dim]nothing[/]" if value is None else escape(value)
