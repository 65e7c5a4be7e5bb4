"""`tickhouse statistics`: the rolling 24-hour statistics in Geode."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from tickhouse.cli.options import JsonOption

COLUMNS = ("until", "open", "high", "low", "close", "change_percent", "volume", "quote_volume", "vwap", "trades")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(statistics)


def statistics(
    market: Annotated[str, typer.Option(help="Only this market: spot, usdm or coinm.")] = "",
    symbol: Annotated[str, typer.Option(help="Only this symbol, such as BTCUSDT.")] = "",
    json: JsonOption = False,
) -> None:
    """Show the rolling 24-hour statistics of each stream, up to its newest minute."""
    from common.clients import geode
    from common.clients.statistics import all_statistics
    from common.market_kind import is_simulated
    from common.settings import home, load_settings
    from common.symbols import upper_latin
    from tickhouse.cli.output import print_json
    from tickhouse.known_names import require_market, require_pair

    if market:
        require_market(market)
    with geode.connected(load_settings(), "reader") as client:
        found = all_statistics(client, market, upper_latin(symbol))
        if symbol and not found:
            known = {(one["market"], one["symbol"]) for one in all_statistics(client)}
            require_pair(market, symbol, known, command="tickhouse statistics")
    simulated = is_simulated(home())
    if json:
        print_json([{**one, "is_simulated": simulated} for one in found])
    else:
        _print_table(found, "SIMULATED" if simulated else "")


def _print_table(found: list[dict[str, Any]], title: str) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title or None, title_justify="left")
    for name in ("market", "symbol", "stream"):
        table.add_column(name)
    for name in COLUMNS:
        table.add_column(name.replace("_", " "), justify="right")
    for one in found:
        table.add_row(one["market"], one["symbol"], one["stream"], *(str(one[name]) for name in COLUMNS))
    Console(highlight=False).print(table)
