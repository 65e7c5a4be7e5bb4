"""`tickhouse candles`: read candles from PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tickhouse.candles import Candle


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def candles(  # noqa: PLR0917  # typer makes each an option
        market: Annotated[str, typer.Option(help="spot, usdm or coinm.")],
        symbol: Annotated[str, typer.Option(help="The exchange's symbol, as BTCUSDT.")],
        start: Annotated[str, typer.Option("--from", help="First open time: ISO 8601 (UTC) or milliseconds.")],
        end: Annotated[str, typer.Option("--to", help="End, exclusive: ISO 8601 (UTC) or milliseconds.")],
        interval: Annotated[str, typer.Option(help="1m, 5m, 15m, 1h or 1d.")] = "1m",
        json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
    ) -> None:
        """Show candles of a symbol; minutes without trades have none."""
        from tickhouse.candles import moment, read
        from tickhouse.cli._show import print_json
        from tickhouse.settings import load_settings

        dsn = load_settings().database_dsn("reader")
        found = read(dsn, market, symbol, interval=interval, start=moment(start), end=moment(end))
        if json:
            print_json([candle.document() for candle in found])
        else:
            _print_table(found, f"{market} {symbol.upper()} {interval}")


def _print_table(found: list[Candle], title: str) -> None:
    from datetime import UTC, datetime

    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for name in ("open time (UTC)", "open", "high", "low", "close", "volume", "trades"):
        table.add_column(name, justify="left" if name.startswith("open time") else "right")
    for candle in found:
        opened = datetime.fromtimestamp(candle.open_time_ms // 1000, UTC).strftime("%Y-%m-%d %H:%M")
        figures = (candle.open, candle.high, candle.low, candle.close, candle.volume)
        table.add_row(opened, *(f"{figure:f}" for figure in figures), f"{candle.trades:,}")
    Console(highlight=False).print(table)
