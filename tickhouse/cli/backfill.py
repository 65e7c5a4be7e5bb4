"""`tickhouse backfill`: past trades by REST."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from tickhouse.cli.options import JsonOption


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(backfill)


def backfill(
    symbol: Annotated[str, typer.Argument(help="The exchange's own symbol.")],
    *,
    market: Annotated[str, typer.Option(help="spot, usdm or coinm.")],
    from_id: Annotated[int | None, typer.Option(min=0, help="First aggregate id.")] = None,
    to_id: Annotated[int | None, typer.Option(min=0, help="Last aggregate id.")] = None,
    from_: Annotated[datetime | None, typer.Option("--from", help="UTC time, inclusive.")] = None,
    to: Annotated[datetime | None, typer.Option("--to", help="UTC time, exclusive; the default is now.")] = None,
    rest_url: Annotated[str | None, typer.Option(help="Base URL of the REST API.")] = None,
    wait: Annotated[bool, typer.Option(help="Return only when everything is visible in the stores.")] = True,
    timeout_s: Annotated[float, typer.Option(help="Longest wait for the stores.")] = 300.0,
    json: JsonOption = False,
) -> None:
    """Fetch past aggregate trades by REST; trades that Kafka already has are not fetched again."""
    from common.errors import ConfigurationError
    from common.logs import configure_logging
    from common.settings import load_settings
    from tickhouse.cli.output import print_json
    from tickhouse.cli.render.ingest import backfill_bar, show_backfill, waiting_for_stores
    from tickhouse.ingest import backfill as ingest
    from tickhouse.ingest.visibility import wait_for_stores

    configure_logging("backfill", is_command=True)
    if (from_id is None) == (from_ is None) or (to_id is not None and to is not None):
        raise ConfigurationError("Expected --from-id or --from, and at most one of --to-id and --to.")
    settings = load_settings()
    wanted = ingest.TradeRange(market, symbol, from_id, to_id, _micros(from_), _micros(to))
    with backfill_bar(symbol) as progress:
        result = ingest.backfill(settings, wanted, rest_url=rest_url, progress=progress)
    visible_after_s = None
    if wait and result.fetched.is_whole:
        with waiting_for_stores() as lagging:
            visible_after_s = wait_for_stores(settings, [result.expected()], timeout_s=timeout_s, progress=lagging)
    if json:
        print_json(result.document(visible_after_s))
    else:
        show_backfill(result)


def _micros(moment: datetime | None) -> int | None:
    """Return a time in µs since 1970; one without a zone is UTC."""
    if moment is None:
        return None
    return int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()) * 1_000_000
