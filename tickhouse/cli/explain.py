"""`tickhouse explain`: where one event is."""

from __future__ import annotations

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def explain(
        event_id: Annotated[str, typer.Argument(help="binance:<market>:<SYMBOL>:<stream>:<exchange id>")],
        ref: Annotated[str, typer.Option(help="Branch, tag or commit of the lake.")] = "ingest",
        json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
    ) -> None:
        """Follow one event through every system: Kafka, lake and commit, candle, Redis, dead letters, gap ledger."""
        from tickhouse.cli._show import console, print_json
        from tickhouse.explain.explain import explain
        from tickhouse.explain.show import show
        from tickhouse.settings import load_settings

        errors = console()
        with errors.status("asking") as status:
            answer = explain(load_settings(), event_id, ref, status.update)
        if json:
            print_json(answer.document())
        else:
            show(answer, errors)
        if answer.unavailable and not answer.is_found:
            from tickhouse.errors import StoreUnavailable

            silent = ", ".join(answer.unavailable)
            raise StoreUnavailable(
                f"Nothing is known of it yet: {silent} did not answer.", next_command="tickhouse status"
            )
