"""`tickhouse backfill`: a range of the past by REST."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from producer.backfill import Backfilled
    from producer.runtime import Writer
    from tickhouse.settings import Settings


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def backfill(
        symbol: Annotated[str, typer.Argument(help="The exchange's own symbol.")],
        *,
        market: Annotated[str, typer.Option(help="spot, usdm or coinm.")],
        from_id: Annotated[int | None, typer.Option(min=0, help="First aggregate id.")] = None,
        to_id: Annotated[int | None, typer.Option(min=0, help="Last aggregate id.")] = None,
        from_: Annotated[datetime | None, typer.Option("--from", help="UTC time, inclusive.")] = None,
        to: Annotated[datetime | None, typer.Option("--to", help="UTC time, exclusive; default now.")] = None,
        rest_url: Annotated[str | None, typer.Option(help="Base of the REST API.")] = None,
        wait: Annotated[bool, typer.Option(help="End when all is visible in the stores.")] = True,
        timeout_s: Annotated[float, typer.Option(help="How long to wait for the stores.")] = 300.0,
        json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
    ) -> None:
        """Fetch aggregate trades of the past by REST; what is there is not fetched again."""
        from producer.events import check_market, check_symbol
        from producer.runtime import configure_logging
        from tickhouse.errors import ConfigurationError
        from tickhouse.settings import load_settings

        configure_logging()
        check_market(market)
        check_symbol(symbol)
        if (from_id is None) == (from_ is None) or (to_id is not None and to is not None):
            raise ConfigurationError("Expected --from-id or --from, and at most one of --to-id and --to.")
        wanted = {"from_id": from_id, "to_id": to_id, "from_us": _micros(from_), "to_us": _micros(to)}
        settings = load_settings()
        done, offsets = _run(settings, market, symbol, rest_url, wanted)
        stores = _wait(settings, market, done, offsets, timeout_s) if wait and done.is_whole else None
        _show(done, stores, as_json=json)


def _micros(moment: datetime | None) -> int | None:
    from datetime import UTC

    return None if moment is None else int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()) * 1_000_000


def _run(
    settings: Settings, market: str, symbol: str, rest_url: str | None, wanted: dict[str, int | None]
) -> tuple[Backfilled, dict[int, tuple[int, int]]]:
    import asyncio

    from producer.outbox import TRADES
    from producer.runtime import open_writer
    from producer.store import BACKFILL

    writer = open_writer(settings, market=market, writer=BACKFILL, follows_gaps=False)
    before = writer.reader.ends(TRADES)
    try:
        done = asyncio.run(_fetch(writer, rest_url or settings.exchange_rest_url, symbol, wanted))
    finally:
        writer.save(is_closed=True)
        writer.outbox.flush()
        after = writer.reader.ends(TRADES)
        writer.reader.close()
    return done, {int(part): (before[part], end) for part, end in after.items() if end > before[part]}


async def _fetch(writer: Writer, url: str, symbol: str, wanted: dict[str, Any]) -> Backfilled:
    import time

    import httpx

    from producer.backfill import backfill, id_range
    from producer.rest import RestClient
    from producer.signals import stop_flag
    from tickhouse.cli._show import console

    async with httpx.AsyncClient() as http:
        rest = RestClient(http, url, writer.intake.market, clock=time.time)
        await rest.exchange_info()  # for its request limit
        ids = await id_range(rest, symbol, **wanted)
        with stop_flag() as is_stopped, _bar(console(), symbol, ids[1] - ids[0] + 1) as progress:
            return await backfill(writer, rest, symbol, ids, progress=progress, is_stopped=is_stopped)


def _bar(console: Any, symbol: str, total: int) -> Any:
    from contextlib import contextmanager

    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    @contextmanager
    def bar() -> Any:
        columns = (TextColumn(symbol), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
            task = progress.add_task("", total=total)
            yield lambda done, _: progress.update(task, completed=done)

    return bar()


def _wait(
    settings: Settings, market: str, done: Backfilled, offsets: dict[int, tuple[int, int]], timeout_s: float
) -> dict[str, float]:
    from producer.intervals import IntervalSet
    from producer.outbox import TRADES
    from producer.visible import Expected
    from tickhouse.cli.replay import wait_for_stores

    ranges = IntervalSet(done.unserved).missing(done.first_id, done.last_id)
    wanted = {("aggTrade", done.symbol): [] if done.rejected else ranges}
    return wait_for_stores(settings, [Expected(market, wanted, {TRADES: offsets})], timeout_s)


def _show(done: Backfilled, stores: dict[str, float] | None, *, as_json: bool) -> None:
    import msgspec

    from tickhouse.cli._show import console, print_json

    if as_json:
        print_json({**msgspec.to_builtins(done), "visible_after_s": stores})
        return
    console().print(
        f"{done.symbol} {done.first_id}..{done.last_id}: sent {done.sent:,}, known before {done.known:,}, "
        f"rejected {done.rejected:,}, not served {sum(high - low + 1 for low, high in done.unserved):,}"
    )
