"""`tickhouse gaps`: ids that the exchange sent and Tickhouse did not receive."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import typer

from tickhouse.cli.options import JsonOption

STATES = ("open", "filled", "unfillable")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    gaps = typer.Typer()
    app.add_typer(gaps, name="gaps")
    gaps.callback(invoke_without_command=True)(show)
    gaps.command("declare")(declare)


def show(  # noqa: PLR0917  # typer makes each an option
    context: typer.Context,
    state: Annotated[str | None, typer.Option(help="Only gaps in this state: open, filled or unfillable.")] = None,
    market: Annotated[str | None, typer.Option(help="Only gaps of this market: spot, usdm or coinm.")] = None,
    symbol: Annotated[str | None, typer.Option(help="Only gaps of this symbol.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Most rows to show; the totals count all gaps.")] = 100,
    json: JsonOption = False,
) -> None:
    """Show the gap ledger: each range of missing ids and its state."""
    from common.clients.kafka import TopicLog
    from common.settings import load_settings
    from common.topics import GAPS, LEDGER
    from tickhouse.cli.output import print_json
    from tickhouse.known_names import require_market, require_one, require_pair

    if context.invoked_subcommand is not None:
        return
    if state is not None:
        require_one("state", state, STATES)
    if market is not None:
        require_market(market)
    reader = TopicLog(load_settings().kafka_bootstrap_servers)
    try:
        by_key = reader.latest(GAPS)
        if symbol is not None:
            known = {(of[0], of[1]) for of in (key.split("/") for key in (*by_key, *reader.latest(LEDGER)))}
            _, symbol = require_pair(market or "", symbol, known, command="tickhouse status")
    finally:
        reader.close()
    chosen = [
        gap
        for gap in sorted(by_key.values(), key=lambda gap: gap["detected_at_us"])
        if state in (None, gap["state"]) and symbol in (None, gap["symbol"]) and market in (None, gap["market"])
    ]
    if json:
        print_json(chosen)
    else:
        _table(chosen, limit)


def declare(
    market: Annotated[str, typer.Argument(help="spot, usdm or coinm.")],
    symbol: Annotated[str, typer.Argument(help="The exchange's own symbol.")],
    first_id: Annotated[int, typer.Argument(min=0, help="First id that cannot be filled.")],
    last_id: Annotated[int, typer.Argument(min=0, help="Last id that cannot be filled.")],
    *,
    reason: Annotated[str, typer.Option(help="Why it cannot be filled; kept in the gap ledger.")],
    stream: Annotated[str, typer.Option(help="aggTrade or trade.")] = "aggTrade",
    json: JsonOption = False,
) -> None:
    """Declare open gaps, or parts of them, unfillable; ids that arrive later still close them."""
    from common.errors import ConfigurationError
    from common.settings import load_settings
    from producer.declare_lost import declare_unfillable
    from producer.events import check_market, check_symbol
    from tickhouse.cli.output import console, print_json

    check_market(market)
    check_symbol(symbol)
    if last_id < first_id or not reason.strip():
        raise ConfigurationError("Expected a reason, and a first id that is not greater than the last id.")
    declared = declare_unfillable(load_settings(), (market, symbol, stream), (first_id, last_id), reason.strip())
    if json:
        print_json(declared)
        return
    for gap in declared:
        console().print(f"{gap['first_id']}..{gap['last_id']}: {gap['state']} ({gap['reason']})")


def _table(gaps: list[dict[str, Any]], limit: int) -> None:
    from rich.console import Console

    from tickhouse.cli.render.tables import show_table

    if not gaps:
        Console().print("The gap ledger has no such gap.")
        return
    rows = [
        (
            *(gap["market"], gap["symbol"], gap["stream"], gap["first_id"], gap["last_id"], _size(gap)),
            *(gap["state"], gap["reason"], gap["source"]),
        )
        for gap in gaps[-limit:]
    ]
    columns = ("market", "symbol", "stream", "first id", "last id", "ids", "state", "reason", "source")
    show_table(columns, rows, right=("first id", "last id", "ids"), optional=("stream", "reason", "source"))
    hidden = f"the newest {limit:,} of " if len(gaps) > limit else ""
    Console().print(f"{hidden}{len(gaps):,} gaps: " + ", ".join(_sums(gaps)), highlight=False)


def _sums(gaps: Iterable[dict[str, Any]]) -> list[str]:
    sums: dict[str, list[int]] = {}
    for gap in gaps:
        sums.setdefault(gap["state"], []).append(_size(gap))
    return [f"{len(sizes):,} {state} ({sum(sizes):,} ids)" for state, sizes in sorted(sums.items())]


def _size(gap: dict[str, Any]) -> int:
    return int(gap["last_id"]) - int(gap["first_id"]) + 1
