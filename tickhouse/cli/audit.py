"""`tickhouse audit`: audit days of a lake reference, as the DAGs do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tickhouse.cli.options import JsonOption

if TYPE_CHECKING:
    from common.days import Days
    from common.settings import Settings
    from tickhouse.checks.audit.run import AuditReport


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(audit)


def audit(
    ref: Annotated[str, typer.Argument(help="Branch, tag or commit of the lake.")] = "main",
    first: Annotated[str, typer.Option("--from", help="First day; the newest with candles if left out.")] = "",
    last: Annotated[str, typer.Option("--to", help="Last day, included; the first if left out.")] = "",
    json: JsonOption = False,
) -> None:
    """Audit days of a lake reference and write the page; exit code 9 if it does not pass.

    A day without data has the verdict "no data", which is no pass. The verdict is written to the
    reports; a branch gets it only from DAG nightly_batch, so this command changes nothing in the
    lake.
    """
    from common.errors import AuditFailed
    from common.settings import load_settings
    from tickhouse.checks.audit.run import audit_lake
    from tickhouse.cli.output import print_json
    from tickhouse.lake.branches import audited_commit

    settings = load_settings()
    commit_id = audited_commit(settings, ref)
    report = audit_lake(settings, commit_id, _days(settings, ref, commit_id, first or last, last or first), ref)
    if json:
        print_json(report.document())
    else:
        _show(report)
    if not report.ok:
        raise AuditFailed(
            f"The audit of {report.days} at {ref} ended with the verdict {report.verdict!r}.",
            safe="Nothing was changed in the lake.",
            next_command=f"tickhouse lake log {ref}",
        )


def _days(settings: Settings, ref: str, commit_id: str, first: str, last: str) -> Days:
    from datetime import date

    from common.days import Days
    from common.errors import ConfigurationError
    from tickhouse.checks.audit.run import newest_day

    if not first:
        newest = newest_day(settings, commit_id)
        if newest is None:
            raise ConfigurationError(f"{ref} has no candles yet.", next_command="tickhouse dags list")
        return Days(newest, newest)
    try:
        days = Days(date.fromisoformat(first), date.fromisoformat(last))
    except ValueError as error:
        raise ConfigurationError(f"Expected days as YYYY-MM-DD, was {first!r} and {last!r}.") from error
    if not len(days):
        raise ConfigurationError(f"The last day, {last}, is before the first one, {first}.")
    return days


def _show(report: AuditReport) -> None:
    typer.echo(f"Audit of {report.days} at {report.ref} ({report.commit_id[:12]}): {report.summary()}")
    for name, lines in (("stops", report.broken), ("warning", report.warnings), ("note", report.notes)):
        for line in lines:
            typer.echo(f"{name:8} {line}")
    typer.echo(f"report   {report.url}")
