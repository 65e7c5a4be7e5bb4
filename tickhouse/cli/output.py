"""What the commands share: JSON on standard output, tables and progress on standard error."""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from typer._click.globals import get_current_context

if TYPE_CHECKING:
    from rich.console import Console

    from stack.engine.progress import Phase

MARKS: dict[str, str] = {
    "ready": "[green]ready[/]",
    "external": "[cyan]external[/]",
    "failed": "[bold red]failed[/]",
    "stopped": "[green]stopped[/]",
}

# Downloads and builds give many lines per second.
DETAIL_EVERY_S = 15.0


# In the context of a call: a command wrote its document, so an error after it writes none.
HAS_PRINTED_JSON = "tickhouse.has_printed_json"


# In the context of a call: the person asked for whole values on a narrow terminal.
IS_WIDE = "tickhouse.is_wide"


def is_wide() -> bool:
    """Return whether the command was called with --wide."""
    context = get_current_context(silent=True)
    return context is not None and bool(context.meta.get(IS_WIDE))


def print_json(document: object) -> None:
    """Write one JSON document to standard output."""
    context = get_current_context(silent=True)
    if context is not None:
        context.meta[HAS_PRINTED_JSON] = True
    json.dump(document, sys.stdout, indent=2, default=str)
    sys.stdout.write("\n")


def console() -> Console:
    """Return the console on standard error; standard output is for results."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


class Progress:
    """Shows the phase of each service while the engine works.

    On a terminal, each service has one line that changes. Elsewhere each phase is a new line, and a
    phase that takes long gives one every `DETAIL_EVERY_S`.
    """

    def __init__(self) -> None:
        from rich.progress import Progress as Bars
        from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

        self._console = console()
        columns: list[Any] = [SpinnerColumn(finished_text=" "), TextColumn("{task.fields[service]:10}")]
        columns += [TimeElapsedColumn(), TextColumn("{task.description}")]
        self._bars = Bars(*columns, console=self._console)
        self._tasks: dict[str, Any] = {}
        self._printed: dict[str, float] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Progress:
        if self._console.is_terminal:
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._bars.stop()

    def __call__(self, service: str, phase: Phase, detail: str = "") -> None:
        """Show one message of the engine."""
        with self._lock:
            if self._console.is_terminal:
                self._draw(service, phase, detail)
            elif not (phase == "fetching" and detail) or self._is_due(service):
                self._printed[service] = time.monotonic()
                self._console.print(f"{service}: {MARKS.get(phase, phase)} [dim]{detail[:160]}[/]")

    def _is_due(self, service: str) -> bool:
        return time.monotonic() - self._printed.get(service, 0.0) > DETAIL_EVERY_S

    def _draw(self, service: str, phase: Phase, detail: str) -> None:
        if service not in self._tasks:
            self._tasks[service] = self._bars.add_task("", total=1, service=service)
        text = f"{MARKS.get(phase, phase)} [dim]{detail[: max(20, self._console.width - 40)]}[/]"
        self._bars.update(self._tasks[service], description=text, completed=1 if phase in MARKS else 0)
