"""`tickhouse logs`: the log of a service, and a search of all logs."""

from __future__ import annotations

import os
import shutil
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer._click import Context
from typer.core import TyperGroup

from tickhouse.cli.options import JsonOption

if TYPE_CHECKING:
    from tickhouse.logs.search import LogAnswer

LEVEL_COLORS = {"debug": "dim", "info": "green", "warning": "yellow", "error": "red", "critical": "bold red"}


class LogsGroup(TyperGroup):
    """Takes `tickhouse logs SERVICE` as `tickhouse logs show SERVICE`."""

    default_command = "show"

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        """Parse the arguments; the first one may be a service instead of a command."""
        if args and args[0] != "--help" and args[0] not in self.commands:
            args = [self.default_command, *args]
        return super().parse_args(ctx, args)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    logs = typer.Typer(cls=LogsGroup, no_args_is_help=True, help="Show the log of a service, or search all logs.")
    app.add_typer(logs, name="logs")
    logs.command("show")(show)
    logs.command("search")(search)


def show(
    service: Annotated[str, typer.Argument(help="A service, one of its programs, or supervisord.")],
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Follow new lines until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("-n", "--lines", min=0, help="How many of the last lines to show.")] = 50,
) -> None:
    """Show the end of a service's log."""
    from common.errors import PrerequisiteMissing

    tail = shutil.which("tail")
    if tail is None:
        raise PrerequisiteMissing("tail is not installed.", next_command="apt-get install coreutils")
    flags = ["-F"] if follow else []
    os.execv(tail, [tail, "-n", str(lines), *flags, *_files(service)])  # noqa: S606 - no shell, fixed program


def search(
    query: Annotated[str, typer.Argument(help="Words that a message must contain; quotes make a phrase.")] = "",
    *,
    since: Annotated[str, typer.Option(help="How far back: 30m, 1h, 2d, or a time in UTC.")] = "1h",
    service: Annotated[list[str] | None, typer.Option(help="Only this service or program. May be repeated.")] = None,
    level: Annotated[str, typer.Option(help="The lowest level: debug, info, warning, error, critical.")] = "debug",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many of the newest messages.")] = 100,
    json: JsonOption = False,
) -> None:
    """Search the logs of all programs, in Elasticsearch or, without it, in the files."""
    from datetime import UTC, datetime

    from common.settings import load_settings
    from tickhouse.cli.output import console, print_json
    from tickhouse.logs.query import LogQuery, level_of, since_of, words_of
    from tickhouse.logs.search import search as find
    from tickhouse.logs.search import services_of

    services = services_of(service or (), _programs())
    wanted = LogQuery(words_of(query), since_of(since, datetime.now(UTC)), services, level_of(level), limit)
    answer = find(load_settings(), wanted)
    if answer.note:
        console().print(f"{answer.note}.", markup=False)
    if json:
        found = {"searched": answer.searched, "total": answer.total, "messages": list(answer.messages)}
        print_json(found)
    else:
        _print(answer)


def _print(answer: LogAnswer) -> None:
    from rich.console import Console
    from rich.text import Text

    out = Console(highlight=False, soft_wrap=True)
    for fields in answer.messages:
        level = str(fields["log.level"])
        line = Text.assemble(
            (str(fields["@timestamp"]), "dim"),
            " ",
            (f"{level:8}", LEVEL_COLORS.get(level, "")),
            f" {fields['service.name']}: {_text(fields)}",
        )
        out.print(line)
    if answer.total > len(answer.messages):
        out.print(f"The newest {len(answer.messages)} of {answer.total:,} messages.", style="dim")


def _text(fields: dict[str, Any]) -> str:
    labels = " ".join(f"{name}={value}" for name, value in (fields.get("labels") or {}).items())
    error = fields.get("error.message") or fields.get("error.type") or ""
    return " · ".join(part for part in (str(fields["message"]), labels, str(error)) if part)


def _programs() -> dict[str, list[str]]:
    from stack.engine.lifecycle import catalog

    return {name: list(definition.all_programs()) for name, definition in catalog().items()}


def _files(service: str) -> list[str]:
    from common.errors import ConfigurationError
    from stack.engine.supervisor import log_file

    by_service = _programs()
    every_program = ["supervisord", *chain.from_iterable(by_service.values())]
    known = {program: [program] for program in every_program} | by_service
    if service not in known:
        raise ConfigurationError(f"Expected one of {sorted(known)}, was {service!r}.")
    files = [log_file(program) for program in known[service]]
    missing = [str(path) for path in files if not path.exists()]
    if missing:
        raise ConfigurationError(f"No log yet: {', '.join(missing)}.", next_command="tickhouse up")
    return [str(path) for path in files]
