"""`tickhouse doctor`: problems of this installation, and the commands that fix them."""

from __future__ import annotations

from dataclasses import asdict

import typer

from tickhouse.cli.options import JsonOption

MARKS = {"ok": "[green]ok[/]", "warning": "[yellow]warning[/]", "error": "[bold red]error[/]"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)


def doctor(
    json: JsonOption = False,
) -> None:
    """Check prerequisites, ports, disk, memory, permissions, services; exit code 1 on errors."""
    from tickhouse.status.doctor import examine

    findings = examine()
    is_ok = all(finding.level != "error" for finding in findings)
    if json:
        from tickhouse.cli.output import print_json

        print_json({"ok": is_ok, "findings": [asdict(finding) for finding in findings]})
    else:
        from rich.text import Text

        from tickhouse.cli.render.tables import show_table

        rows = [(Text.from_markup(MARKS[one.level]), one.check, one.seen, one.mend) for one in findings]
        show_table(("", "check", "seen", "fix"), rows)
        for finding in findings:
            if finding.runbook:
                typer.echo(f"More about {finding.check}: {finding.runbook}")
    if not is_ok:
        raise typer.Exit(1)
