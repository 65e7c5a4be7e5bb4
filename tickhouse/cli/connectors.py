"""`tickhouse connectors`: the files of `connectors/` against the Connect worker, with kubectl's verbs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from tickhouse.connectors.plan import Change
    from tickhouse.connectors.worker import Worker

Name = Annotated[str, typer.Argument(help="Connector: the name of its file.")]
Names = Annotated[list[str] | None, typer.Argument(help="Connectors; all without a name.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]

MARKS = {
    "create": "[green]+ create[/]",
    "update": "[yellow]~ update[/]",
    "none": "= in line",
    "unknown": "[red]? no file[/]",
}

connectors = typer.Typer(
    name="connectors",
    no_args_is_help=True,
    help="Deploy the sinks of connectors/*.json to Kafka Connect and look after them.",
)
offsets = typer.Typer(name="offsets", no_args_is_help=True, help="How far a connector has read.")
connectors.add_typer(offsets)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(connectors)


@connectors.command("ls")
def list_all(json: Json = False) -> None:
    """List every connector, of the files and of the worker: state, tasks, records yet to read, dead letters."""
    from rich.console import Console
    from rich.table import Table

    from tickhouse.cli._show import print_json
    from tickhouse.connectors.state import survey
    from tickhouse.settings import load_settings

    with _worker() as worker:
        found = survey(worker, load_settings())
    if json:
        print_json([one.document() for one in found])
        return
    table = Table("connector", "state", "tasks", "topics", "yet to read", "dead letters", "file")
    for one in found:
        tasks = f"{one.tasks_running}/{len(one.tasks)}"
        lag = "" if one.lag_records is None else f"{one.lag_records:,}"
        table.add_row(
            one.name,
            one.state,
            tasks,
            ", ".join(one.topics),
            lag,
            f"{one.dead_letters:,}",
            "" if one.has_file else "none",
        )
    Console().print(table)


@connectors.command()
def describe(name: Name, json: Json = False) -> None:
    """Show one connector: configuration without secrets, tasks with their errors, lag, dead letters."""
    from rich.console import Console

    from tickhouse.cli._show import print_json
    from tickhouse.connectors.state import survey
    from tickhouse.errors import ConfigurationError
    from tickhouse.settings import load_settings

    with _worker() as worker:
        found = {one.name: one for one in survey(worker, load_settings())}
    if name not in found:
        raise ConfigurationError(f"Expected a connector of {', '.join(found)}, was {name!r}.")
    if json:
        print_json(found[name].document())
        return
    console = Console(highlight=False, markup=False)
    for line in found[name].lines():
        console.print(line)


@connectors.command()
def plan(names: Names = None, json: Json = False) -> None:
    """Show what apply would change, validated by the worker; exit code 10 on drift, 2 when a file is refused."""
    from tickhouse.cli._show import print_json
    from tickhouse.connectors import plan as plans
    from tickhouse.connectors.files import chosen, read
    from tickhouse.errors import ConfigurationError, DriftFound

    wanted = chosen(read(), names or [])
    with _worker() as worker:
        changes = plans.plan(worker, wanted, is_whole=not names)
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
def apply(names: Names = None, json: Json = False) -> None:
    """Bring the worker in line with the files: all are validated first; what is in line is left alone."""
    from tickhouse.cli._show import print_json
    from tickhouse.connectors import plan as plans
    from tickhouse.connectors.files import chosen, read
    from tickhouse.settings import load_settings

    wanted = chosen(read(), names or [])
    with _worker() as worker:
        changes = plans.apply(worker, load_settings(), wanted)
    if json:
        print_json([change.document() for change in changes])
    else:
        _show(changes)


@connectors.command()
def restart(
    name: Name,
    failed: Annotated[bool, typer.Option("--failed", help="Only what has failed of it.")] = False,
) -> None:
    """Restart a connector and its tasks; what was not yet confirmed is delivered again, and replaces itself."""
    with _worker() as worker:
        worker.restart(name, only_failed=failed)


@connectors.command()
def pause(name: Name) -> None:
    """Have a connector read no further until it is resumed."""
    with _worker() as worker:
        worker.pause(name)


@connectors.command()
def resume(name: Name) -> None:
    """Have a paused or stopped connector read on."""
    with _worker() as worker:
        worker.resume(name)


@connectors.command()
def delete(name: Name, yes: Yes = False) -> None:
    """Remove a connector from the worker; what it wrote stays, and its offsets: applied again it goes on from there."""
    if not yes:
        typer.confirm(f"Remove {name} from the worker?", abort=True, err=True)
    with _worker() as worker:
        worker.delete(name)


@offsets.command()
def reset(name: Name, yes: Yes = False) -> None:
    """Have a connector read its topics from their beginning again; says first what will be delivered again."""
    from tickhouse.connectors.state import redelivery
    from tickhouse.settings import load_settings

    with _worker() as worker:
        typer.echo(redelivery(worker, load_settings(), name), err=True)
        if not yes:
            typer.confirm("Reset?", abort=True, err=True)
        worker.reset_offsets(name)


@contextmanager
def _worker() -> Iterator[Worker]:
    from tickhouse.connectors.worker import Worker
    from tickhouse.settings import load_settings

    with Worker(load_settings().connect_url) as worker:
        yield worker


def _show(changes: list[Change]) -> None:
    from rich.console import Console
    from rich.markup import escape

    console = Console(highlight=False)
    for change in changes:
        console.print(f"{MARKS[change.action]} {change.name}")
        for key, found, wanted in change.differences if change.action == "update" else ():
            console.print(f"    {escape(key)}: {_value(found)} -> {_value(wanted)}")
        for key, errors in change.faults.items():
            console.print(f"    [red]{escape(key)}: {escape(' '.join(errors))}[/]")


def _value(value: Any) -> str:
    from rich.markup import escape

    return "[dim]nothing[/]" if value is None else escape(value)
