"""`tickhouse graph …`: synchronize the graph in Neo4j with the lake, and ask it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import typer

from tickhouse.cli.options import JsonOption

graph = typer.Typer(name="graph", no_args_is_help=True, help="The graph of assets, pairs and symbols in Neo4j.")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(graph)


@graph.command()
def sync(
    ref: Annotated[str, typer.Option(help="Branch, tag or commit.")] = "main",
    json: JsonOption = False,
) -> None:
    """Make the graph equal to a commit of the lake, and record the exchange's listings.

    A commit that is older than the one in the graph is refused. The same commit again changes
    nothing.
    """
    from dataclasses import asdict

    from common.settings import load_settings
    from tickhouse.graph.sync import sync

    row = asdict(sync(load_settings(), ref, lambda line: typer.echo(f"warning: {line}", err=True)))
    _show([row], row, json)


@graph.command()
def query(
    name: Annotated[
        str,
        typer.Argument(help="connecting_assets, triangles, concentration or shared_counterparties."),
    ],
    param: Annotated[list[str] | None, typer.Option(help="NAME=VALUE, a parameter of the query.")] = None,
    json: JsonOption = False,
) -> None:
    """Answer a question from the graph; docs/how-to/ask-the-graph.md has all of them."""
    from common.market_kind import BANNER
    from common.settings import load_settings
    from tickhouse.graph.answers import ask

    answer = ask(load_settings(), name, _pairs(param or ()))
    document = {"query": name, "rows": answer.rows, "figures": answer.figures, "is_simulated": answer.is_simulated}
    if answer.is_simulated and not json:
        typer.echo(BANNER)
    _show(answer.rows, document, json)
    if not json:
        for figure, value in answer.figures.items():
            typer.echo(f"{figure}: {value}")


@graph.command()
def sample(
    seed: Annotated[int, typer.Option(help="The same seed gives the same sample.")] = 1,
    remove: Annotated[bool, typer.Option("--remove", help="Remove the sample instead.")] = False,
    json: JsonOption = False,
) -> None:
    """Write a generated sample of users, wallets and their trades; every node is SYNTHETIC."""
    from dataclasses import asdict

    from common.settings import load_settings
    from tickhouse.graph.wallet_sample import generate, nothing, write

    row = asdict(write(load_settings(), nothing() if remove else generate(seed)))
    _show([row], row, json)


def _pairs(texts: Iterable[str]) -> dict[str, str]:
    from common.errors import ConfigurationError

    wrong = [text for text in texts if "=" not in text]
    if wrong:
        raise ConfigurationError(f"Expected --param NAME=VALUE, was {wrong[0]!r}.")
    return dict(text.split("=", 1) for text in texts)


def _show(rows: list[dict[str, Any]], document: object, json: bool) -> None:
    from tickhouse.cli.output import print_json
    from tickhouse.cli.render.tables import show_table

    if json:
        print_json(document)
        return
    cells = [[" ".join(value) if isinstance(value, list) else value for value in row.values()] for row in rows]
    show_table(tuple(rows[0]) if rows else (), cells, empty="no rows")
