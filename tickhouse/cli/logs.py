"""`tickhouse logs`: the log of a service."""

from __future__ import annotations

import os
import shutil
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def logs(
        service: Annotated[str, typer.Argument(help="A service, one of its programs, or supervisord.")],
        follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on as lines come; Ctrl-C ends it.")] = False,
        lines: Annotated[int, typer.Option("-n", "--lines", min=0, help="Last lines to show.")] = 50,
    ) -> None:
        """Show the end of a service's log."""
        from tickhouse.errors import PrerequisiteMissing

        tail = shutil.which("tail")
        if tail is None:
            raise PrerequisiteMissing("tail is not installed.", next_command="apt-get install coreutils")
        flags = ["-F"] if follow else []
        os.execv(tail, [tail, "-n", str(lines), *flags, *_files(service)])  # noqa: S606 - no shell, fixed program


def _files(service: str) -> list[str]:
    from stack.engine.lifecycle import catalog
    from stack.engine.supervise import log_file
    from tickhouse.errors import ConfigurationError

    programs = {name: list(one.all_programs()) for name, one in catalog().items()}
    known = {**{program: [program] for names in programs.values() for program in names}, **programs}
    known["supervisord"] = ["supervisord"]
    if service not in known:
        raise ConfigurationError(f"Expected one of {sorted(known)}, was {service!r}.")
    files = [log_file(program) for program in known[service]]
    missing = [str(path) for path in files if not path.exists()]
    if missing:
        raise ConfigurationError(f"No log yet: {', '.join(missing)}.", next_command="tickhouse up")
    return [str(path) for path in files]
