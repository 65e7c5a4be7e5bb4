"""`tickhouse logs`: the log of a service."""

from __future__ import annotations

import os
import shutil
from itertools import chain
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(logs)


def logs(
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


def _files(service: str) -> list[str]:
    from common.errors import ConfigurationError
    from stack.engine.lifecycle import catalog
    from stack.engine.supervisor import log_file

    by_service = {name: list(definition.all_programs()) for name, definition in catalog().items()}
    every_program = ["supervisord", *chain.from_iterable(by_service.values())]
    known = {program: [program] for program in every_program} | by_service
    if service not in known:
        raise ConfigurationError(f"Expected one of {sorted(known)}, was {service!r}.")
    files = [log_file(program) for program in known[service]]
    missing = [str(path) for path in files if not path.exists()]
    if missing:
        raise ConfigurationError(f"No log yet: {', '.join(missing)}.", next_command="tickhouse up")
    return [str(path) for path in files]
