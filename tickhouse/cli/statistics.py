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
    from tickhouse.cli.render.tables import show_table

    columns = ("market", "symbol", "stream", *COLUMNS)
    rows = [[one[name] for name in columns] for one in found]
    names = [name.replace("_", " ") for name in columns]
    optional = ("stream", "open", "volume", "vwap", "trades", "until")
    show_table(names, rows, title=title, empty="There are no statistics yet.", right=names[3:], optional=optional)
