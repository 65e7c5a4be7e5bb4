"""`tickhouse gaps`: what the exchange sent and we have not."""

from __future__ import annotations

from typing import Annotated, Any

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def gaps(
        state: Annotated[str | None, typer.Option(help="Only open, filled or unfillable ones.")] = None,
        json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
    ) -> None:
        """Show the gap ledger: each range of missing ids and what became of it."""
        from producer.outbox import GAPS
        from producer.topic_log import TopicLog
        from tickhouse.cli._show import print_json
        from tickhouse.errors import ConfigurationError
        from tickhouse.settings import load_settings

        states = ("open", "filled", "unfillable")
        if state is not None and state not in states:
            raise ConfigurationError(f"Expected a state of {states}, was {state!r}.")
        reader = TopicLog(load_settings().kafka_bootstrap_servers)
        try:
            values = sorted(reader.latest(GAPS).values(), key=lambda gap: gap["detected_at_us"])
        finally:
            reader.close()
        chosen = [gap for gap in values if state in (None, gap["state"])]
        if json:
            print_json(chosen)
        else:
            _table(chosen)


def _table(gaps: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("market", "symbol", "stream", "first id", "last id", "ids", "state", "reason", "source")
    for gap in gaps:
        ids = gap["last_id"] - gap["first_id"] + 1
        row = (gap["market"], gap["symbol"], gap["stream"], gap["first_id"], gap["last_id"], ids, gap["state"])
        table.add_row(*map(str, row), gap["reason"], gap["source"])
    Console().print(table if gaps else "No gap was ever seen.")
