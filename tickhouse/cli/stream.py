"""`tickhouse stream`: the streaming queries, what they lost, and their repair."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tickhouse.cli.options import JsonOption

if TYPE_CHECKING:
    from tickhouse.stream.repair import RepairReport


STATES = {"active": "[green]active[/]", "failing": "[red]failing[/]", "stopped": "[dim]stopped[/]"}

stream = typer.Typer(name="stream", no_args_is_help=True, help="Show and repair the streaming queries.")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(stream)


@stream.command()
def status(json: JsonOption = False) -> None:
    """Show each query: its state, why its checkpoint began where it did, and what it lost."""
    from common.settings import load_settings
    from tickhouse.cli.output import print_json
    from tickhouse.stream.query_state import query_states

    states = query_states(load_settings().home / "stream")
    if json:
        print_json([query.as_dict() for query in states])
    else:
        from rich.text import Text

        from tickhouse.cli.render.tables import show_table

        rows = [
            (
                query.name,
                query.topic,
                Text.from_markup(STATES[query.state]),
                query.reason or "-",
                "\n".join(text for text in (query.error, *query.lost) if text) or "-",
            )
            for query in states
        ]
        show_table(("query", "topic", "state", "checkpoint", "problem"), rows, optional=("topic",))


@stream.command()
def repair(
    queries: Annotated[list[str] | None, typer.Argument(help="Queries; all when none is named.")] = None,
    *,
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="The named queries read their topic from its beginning again.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and do nothing.")] = False,
    json: JsonOption = False,
) -> None:
    """Recreate damaged checkpoints, resend what the lake has, open gaps for the other ids.

    Safe to repeat. Stops the streaming driver when a checkpoint has to change;
    Airflow starts it again.
    """
    from common.settings import load_settings
    from tickhouse.cli.output import console, print_json
    from tickhouse.stream.repair import repair as run

    with console().status("checking the checkpoints") as line:
        report = run(
            load_settings(), queries or [], from_beginning=from_beginning, is_dry_run=dry_run, progress=line.update
        )
    if json:
        print_json(report.document())
    else:
        _show(report)


def _show(report: RepairReport) -> None:
    from tickhouse.cli.output import console

    verb = "would get" if report.is_dry_run else "gets"
    lines = [
        f"{name}: {verb} a new checkpoint ({plan.reason}{_after_colon(plan.detail)}) from {_offsets(plan.start)}"
        for name, plan in report.to_begin.items()
    ]
    lines += [f"lost: {offsets}" for offsets in report.lost]
    if report.lost and not report.is_dry_run:
        lines.append(f"sent again from the lake: {report.resent:,}; gaps opened: {len(report.gaps)}")
        lines += [f"gap: {gap.name} to {gap.last_id}" for gap in report.gaps[:20]]
    if report.gaps:
        lines.append("Fill them: tickhouse replay FILE, or the producer fetches them by REST (tickhouse gaps).")
    for line in lines or ["Every checkpoint is sound, and nothing was lost."]:
        console().print(line, markup=False)
    if report.had_driver:
        console().print("The streaming driver was stopped; Airflow starts it again (tickhouse stream status).")


def _after_colon(text: str) -> str:
    return f": {text}" if text else ""


def _offsets(start: Any) -> str:
    return ", ".join(f"{part}@{offset}" for part, offset in sorted((start or {}).items()))
