"""`tickhouse candles`: read candles from PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tickhouse.cli.options import JsonOption

if TYPE_CHECKING:
    from tickhouse.candles import CandleBar


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(candles)


def candles(  # noqa: PLR0917  # typer makes each an option
    market: Annotated[str, typer.Option(help="spot, usdm or coinm.")],
    symbol: Annotated[str, typer.Option(help="The exchange's symbol, such as BTCUSDT.")],
    start: Annotated[str, typer.Option("--from", help="First open time: ISO 8601 (UTC) or milliseconds.")],
    end: Annotated[str, typer.Option("--to", help="End, exclusive: ISO 8601 (UTC) or milliseconds.")],
    interval: Annotated[str, typer.Option(help="1m, 5m, 15m, 1h or 1d.")] = "1m",
    json: JsonOption = False,
) -> None:
    """Show the candles of a symbol; an interval without trades has no candle."""
    from common.market_kind import is_simulated
    from common.settings import home, load_settings
    from common.symbols import upper_latin
    from tickhouse.candles import parse_time, read
    from tickhouse.cli.output import print_json

    dsn = load_settings().database_dsn("reader")
    simulated = is_simulated(home())
    bars = read(dsn, market, symbol, interval=interval, start=parse_time(start), end=parse_time(end))
    if json:
        print_json([{**candle.document(), "is_simulated": simulated} for candle in bars])
    else:
        _print_table(bars, f"{'SIMULATED ' if simulated else ''}{market} {upper_latin(symbol)} {interval}")


def _print_table(bars: list[CandleBar], title: str) -> None:
    from datetime import UTC, datetime

    from tickhouse.cli.render.tables import show_table

    rows = []
    for candle in bars:
        opened = datetime.fromtimestamp(candle.open_time_ms // 1000, UTC).strftime("%Y-%m-%d %H:%M")
        figures = (candle.open, candle.high, candle.low, candle.close, candle.volume)
        rows.append((opened, *(f"{figure:f}" for figure in figures), f"{candle.trades:,}"))
    columns = ("open time (UTC)", "open", "high", "low", "close", "volume", "trades")
    show_table(columns, rows, title=title, empty=f"{title}: there are no candles in this range.", right=columns[1:])
