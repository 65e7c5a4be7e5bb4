"""`tickhouse reconcile`: compare every store with what the exchange offered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tickhouse.cli.options import JsonOption

if TYPE_CHECKING:
    from common.errors import ReconcileFailed
    from tickhouse.checks.reconcile.conservation_law import ReconcileReport


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(reconcile)


def reconcile(
    *,
    store: Annotated[
        list[str] | None,
        typer.Option(
            help="Only this store: kafka, enriched, lake, postgres, redis, mongodb, mongodb-raw, elasticsearch, "
            "cassandra, influxdb, geode, neo4j."
        ),
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(help="Leave out this store, or this replayed file (its trades are taken from Kafka)."),
    ] = None,
    ref: Annotated[str, typer.Option(help="Branch, tag or commit of the lake.")] = "ingest",
    gold: Annotated[str, typer.Option(help="Also compare the gold candles of this ref with the truth.")] = "",
    wait: Annotated[float, typer.Option(help="Repeat for up to this many seconds until everything agrees.")] = 0.0,
    examples: Annotated[int, typer.Option(min=1, help="Examples to show per fault.")] = 5,
    json: JsonOption = False,
) -> None:
    """Check every store: offered = delivered + rejected + known duplicates; exit code 7 if not."""
    from common.market_kind import banner
    from common.settings import home, load_settings
    from tickhouse.checks.reconcile.run import ALL_STORES, Options, names_of_files, reconcile
    from tickhouse.cli.output import console, print_json
    from tickhouse.cli.render.reconcile import show
    from tickhouse.known_names import require_one

    for name in store or ():
        require_one("store", name, ALL_STORES)
    for name in without or ():
        require_one("store or replayed file", name, {*ALL_STORES, *names_of_files(home())})
    options = Options(tuple(store or ()), ref, examples, gold, tuple(without or ()))
    errors = console()
    with errors.status("reconciling") as status:
        report = reconcile(load_settings(), options, status.update, wait)
    if json:
        print_json(report.document())
    else:
        if text := banner(home()):
            errors.print(f"[bold yellow]{text}[/]")
        show(report, errors)
    if not report.ok:
        raise failure(report)


def failure(report: ReconcileReport) -> ReconcileFailed:
    """Return the error for a broken law: the worst fault, and the command that explains it."""
    from common.errors import ReconcileFailed
    from tickhouse.checks.reconcile.run import summary

    events = [subject for _, _, subject, _ in report.worst() if subject.startswith("binance:")]
    return ReconcileFailed(
        f"The conservation law does not hold: {summary(report)}.",
        safe="Nothing was changed: reconcile only reads.",
        next_command=f"tickhouse explain {events[0]}" if events else "tickhouse status",
    )
