"""`tickhouse doctor`: what stands in the way, and what mends it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

MARKS = {"ok": "[green]ok[/]", "warning": "[yellow]warning[/]", "error": "[bold red]error[/]"}


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def doctor(
        json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
    ) -> None:
        """Check prerequisites, ports, disk, memory, versions, permissions and services. Exits with 1 on an error."""
        from stack.engine.doctor import examine

        findings = examine()
        is_ok = all(finding.level != "error" for finding in findings)
        if json:
            from tickhouse.cli._show import print_json

            print_json({"ok": is_ok, "findings": [asdict(finding) for finding in findings]})
        else:
            from rich.console import Console
            from rich.table import Table

            table = Table("", "check", "seen", "mend with", box=None, pad_edge=False)
            for finding in findings:
                table.add_row(MARKS[finding.level], finding.check, finding.seen, finding.mend)
            Console(highlight=False).print(table)
        if not is_ok:
            raise typer.Exit(1)
