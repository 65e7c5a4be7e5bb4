"""`tickhouse reconcile`: hold every store against what the exchange offered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tickhouse.errors import ReconcileFailed
    from tickhouse.reconcile.law import Report


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def reconcile(
        *,
        store: Annotated[
            list[str] | None,
            typer.Option(
                help="Only this store: kafka, enriched, lake, postgres, redis, mongodb, mongodb-raw, elasticsearch, "
                "cassandra."
            ),
        ] = None,
        ref: Annotated[str, typer.Option(help="Branch, tag or commit of the lake.")] = "ingest",
        gold: Annotated[str, typer.Option(help="Hold the gold candles of this ref against the truth, too.")] = "",
        wait: Annotated[float, typer.Option(help="Look again for so many seconds until all is right.")] = 0.0,
        examples: Annotated[int, typer.Option(min=1, help="Examples to show of each fault.")] = 5,
        json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
    ) -> None:
        """Weigh offered = delivered + rejected + known duplicates in every store; exit code 7 when it does not hold."""
        from tickhouse.cli._show import console, print_json
        from tickhouse.reconcile.run import Options, reconcile
        from tickhouse.reconcile.show import show
        from tickhouse.settings import load_settings

        options = Options(tuple(store or ()), ref, examples, gold)
        errors = console()
        with errors.status("reconciling") as status:
            report = reconcile(load_settings(), options, status.update, wait)
        if json:
            print_json(report.document())
        else:
            show(report, errors)
        if not report.ok:
            raise failure(report)


def failure(report: Report) -> ReconcileFailed:
    """Return the error of a broken law: what broke first, and the command that tells more."""
    from tickhouse.errors import ReconcileFailed
    from tickhouse.reconcile.run import summary

    events = [subject for _, _, subject, _ in report.worst() if subject.startswith("binance:")]
    return ReconcileFailed(
        f"The conservation law does not hold: {summary(report)}.",
        safe="Nothing was changed: reconcile only reads.",
        next_command=f"tickhouse explain {events[0]}" if events else "tickhouse status",
    )
