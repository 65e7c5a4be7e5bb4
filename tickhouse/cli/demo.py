"""`tickhouse demo`: a synthetic market through the whole lakehouse, then the reconcile table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tickhouse.cli.options import JsonOption

if TYPE_CHECKING:
    from tickhouse.demo.run import DemoResult


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(demo)


def demo(
    profile: Annotated[
        str, typer.Option(help="core, sinks, stores, observe or full: which stores are filled.")
    ] = "core",
    pace: Annotated[
        float | None, typer.Option(min=0.1, help="Most seconds of market time per second; the default is 20.")
    ] = None,
    events: Annotated[int | None, typer.Option(min=1, help="Aggregate trades to play; the default is 210,000.")] = None,
    light: Annotated[bool, typer.Option("--light", help="Small heaps, six symbols, 40,000 trades.")] = False,
    json: JsonOption = False,
) -> None:
    """Play a synthetic market with faults through a separate lakehouse and compare every store."""
    from common.settings import load_settings
    from tickhouse.cli.output import console, print_json
    from tickhouse.cli.reconcile import failure
    from tickhouse.cli.render.demo import DemoConsole, show_result
    from tickhouse.cli.render.reconcile import show
    from tickhouse.demo.home import enter
    from tickhouse.demo.market import MarketOptions
    from tickhouse.demo.run import Demo, DemoOptions

    enter(is_new=True)
    screen = console()
    options = DemoOptions(profile, MarketOptions(pace, events, light))
    result = Demo(DemoConsole(screen), options).run()
    show(result.report, screen)
    if not result.report.ok:
        raise failure(result.report)
    show_result(result, load_settings(), screen)
    if json:
        print_json(document(result))


def document(result: DemoResult) -> dict[str, Any]:
    """Return what `--json` prints."""
    from common.settings import home, ports

    return {
        "home": str(home()),
        "ports": ports(),
        "is_simulated": True,
        "reconcile": result.report.document(),
        "commit": result.commit,
        "main": result.main,
        "seconds": result.seconds,
        "memory_mb": result.memory_mb,
        "slowest_pace": result.slowest_pace,
        "alerts": result.alerts.document(),
    }
