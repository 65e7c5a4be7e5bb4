"""`tickhouse demo`: a market through everything, ended by the reconcile table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from tickhouse.demo.run import Outcome
    from tickhouse.settings import Settings


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def demo(
        profile: Annotated[str, typer.Option(help="core, or sinks: its stores are filled and weighed, too.")] = "core",
        json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
    ) -> None:
        """Start everything, play a synthetic market with faults through it, and weigh every store."""
        from tickhouse.cli._show import Progress, console, print_json
        from tickhouse.cli.reconcile import failure
        from tickhouse.demo.run import Demo
        from tickhouse.reconcile.show import show
        from tickhouse.settings import load_settings

        screen = console()
        outcome = Demo(screen, Progress(), profile).run()
        show(outcome.report, screen)
        if not outcome.report.ok:
            raise failure(outcome.report)
        _farewell(screen, load_settings(), outcome)
        if json:
            print_json(document(outcome))


def document(outcome: Outcome) -> dict[str, Any]:
    """Return what `--json` prints."""
    return {
        "reconcile": outcome.report.document(),
        "commit": outcome.commit,
        "main": outcome.main,
        "seconds": outcome.seconds,
    }


def _farewell(screen: Console, settings: Settings, outcome: Outcome) -> None:
    from tickhouse.settings import ports, secrets_file

    screen.print(f"\nLake: commit [bold]{outcome.commit['id'][:16]}[/] of ingest, {outcome.commit['message']}")
    screen.print(f"Main: commit [bold]{outcome.main['id'][:16]}[/], tags {', '.join(outcome.main['tags'])}")
    screen.print(f"Audit:    {outcome.main['metadata'].get('audit.report', '')}")
    screen.print(f"Airflow:  {settings.airflow_url}   user admin, password: AIRFLOW_ADMIN_PASSWORD in {secrets_file()}")
    screen.print(f"Spark:    http://127.0.0.1:{ports()['spark_ui']}")
    screen.print(f"Metrics:  http://127.0.0.1:{ports()['producer_metrics']}/metrics")
    screen.print("Look:     tickhouse status | tickhouse gaps | tickhouse explain EVENT_ID | tickhouse candles --help")
    screen.print("Stop:     tickhouse down (data stays) | tickhouse down --purge (nothing stays)\n")
