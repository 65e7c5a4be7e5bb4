"""`tickhouse explain`: where one event is."""

from __future__ import annotations

from typing import Annotated

import typer

from tickhouse.cli.options import JsonOption


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(explain)


def explain(
    event_id: Annotated[str, typer.Argument(help="binance:<market>:<SYMBOL>:<stream>:<exchange id>")],
    ref: Annotated[str, typer.Option(help="Branch, tag or commit of the lake.")] = "ingest",
    json: JsonOption = False,
) -> None:
    """Find one event in Kafka, the lake, the stores, the dead letters and the gap ledger."""
    from common.market_kind import is_simulated
    from common.settings import home, load_settings
    from tickhouse.checks.explain.event import explain
    from tickhouse.cli.output import console, print_json
    from tickhouse.cli.render.explain import show

    errors = console()
    with errors.status("searching") as status:
        answer = explain(load_settings(), event_id, ref, status.update)
    if json:
        print_json({**answer.document(), "is_simulated": is_simulated(home())})
    else:
        show(answer, errors)
    if answer.unavailable and not answer.is_found:
        from common.errors import StoreUnavailable

        unavailable = ", ".join(answer.unavailable)
        raise StoreUnavailable(
            f"The event was not found, but {unavailable} did not answer.", next_command="tickhouse status"
        )
