"""`tickhouse lineage`: which run made data from what."""

from __future__ import annotations

from typing import Annotated

import typer

from tickhouse.cli.options import JsonOption


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(lineage)


def lineage(
    what: Annotated[str, typer.Argument(metavar="EVENT_ID|TABLE@REF", help="An event, or a table of the lake.")],
    picture: Annotated[bool, typer.Option(help="Of a table, print a flowchart in Mermaid.")] = False,
    json: JsonOption = False,
) -> None:
    """Show what a table was made from, or what was made with an event.

    A table at a branch, tag or commit is followed back to the offsets of Kafka: candles_1d@main. An
    event is followed on: through the commit that brought it into the lake to every table that was
    built, published and loaded with it.
    """
    from common.settings import load_settings
    from tickhouse.cli.output import print_json
    from tickhouse.cli.render.lineage import event_document, show_event, show_table
    from tickhouse.lineage.picture import mermaid
    from tickhouse.lineage.walk import event_lineage, table_lineage

    table, separator, ref = what.partition("@")
    if separator and ":" not in table:
        node = table_lineage(load_settings(), table, ref)
        if picture:
            typer.echo(mermaid(node), nl=False)
        elif json:
            print_json(node.document())
        else:
            show_table(node)
        return
    found = event_lineage(load_settings(), what)
    if json:
        print_json(event_document(found))
    else:
        show_event(found)
