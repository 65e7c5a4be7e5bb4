"""`tickhouse live`: take markets from the exchange until stopped."""

from __future__ import annotations

from typing import Annotated

import typer

from tickhouse.cli.options import JsonOption

live = typer.Typer(name="live", no_args_is_help=True, help="Take markets from the exchange until stopped.")

MarketsOption = Annotated[
    list[str] | None, typer.Option("--market", help="spot, usdm or coinm; may be repeated. Default: all known.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(live)


@live.command()
def start(
    *,
    market: Annotated[
        list[str] | None,
        typer.Option("--market", help="spot, usdm or coinm; may be repeated. Default: those of the settings file."),
    ] = None,
    symbols: Annotated[str | None, typer.Option(help="Comma-separated; `all` takes every symbol that trades.")] = None,
    quote: Annotated[str | None, typer.Option(help="Only symbols of this quote asset, such as USDT.")] = None,
    top: Annotated[int | None, typer.Option(min=1, help="Only so many, with the largest volume in 24 hours.")] = None,
    streams: Annotated[
        str | None, typer.Option(help="Of aggTrade, trade, ticker, miniTicker, bookTicker. [default: aggTrade,ticker]")
    ] = None,
    sample_s: Annotated[
        int | None, typer.Option(min=1, help="Seconds of which one tick per symbol and stream is kept. [default: 5]")
    ] = None,
    rest_only: Annotated[
        bool | None, typer.Option("--rest-only/--websocket", help="Take aggTrade by REST, without a WebSocket.")
    ] = None,
    exchange_url: Annotated[
        list[str] | None,
        typer.Option(help="Another exchange, such as the local one: http://HOST:PORT, or MARKET=http://HOST:PORT."),
    ] = None,
    choose_again: Annotated[
        bool, typer.Option("--choose-again", help="Choose the top symbols anew, also when nothing else changed.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what it would take and cost; start nothing.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Show rate, load and disk per day, then start a producer per market, or restart a changed one.

    Options replace what section `live` of the settings file says. Safe to repeat.
    """
    import httpx

    from common.settings import load_settings
    from common.settings_file import load_settings_file
    from stack.engine.enabled import is_airflow_enabled
    from tickhouse.cli.output import Progress, console, print_json
    from tickhouse.cli.render.live import show_outcomes, show_plans
    from tickhouse.live import jobs
    from tickhouse.live.plan import plan
    from tickhouse.live.requests import GivenOptions, requests

    settings = load_settings()
    given = GivenOptions(
        markets=tuple(market or ()),
        symbols=symbols,
        quote=quote,
        top=top,
        streams=streams,
        sample_s=sample_s,
        is_rest_only=rest_only,
        exchange_urls=tuple(exchange_url or ()),
        addresses=_given_addresses(),
    )
    asked = requests(load_settings_file().live, given)
    with httpx.Client() as http:
        plans = plan(settings.home, asked, http, choose_again=choose_again)
    show_plans(plans)
    outcomes = []
    if not dry_run:
        with Progress() as progress:
            outcomes = jobs.start(settings.home, plans, progress)
        show_outcomes(outcomes)
        if not is_airflow_enabled(settings):
            console().print("Only Kafka gets the trades: `tickhouse up` starts the stores, which then catch up.")
    if json:
        by_market = {outcome.market: outcome.outcome for outcome in outcomes}
        documents = [one.as_dict() | {"outcome": by_market.get(one.job.request.market)} for one in plans]
        print_json({"markets": documents, "is_started": not dry_run})


def _given_addresses() -> tuple[str, str]:
    """Return the exchange's addresses (WebSocket, REST) that the environment gives."""
    from common.settings import load_settings

    settings = load_settings()
    names = ("exchange_ws_url", "exchange_rest_url")
    ws_url, rest_url = (getattr(settings, name) if settings.origin(name) != "default" else "" for name in names)
    return ws_url, rest_url


@live.command()
def stop(*, market: MarketsOption = None, json: JsonOption = False) -> None:
    """Stop the producers of some markets, or of all; what they have sent stays. Safe to repeat."""
    from common.settings import load_settings
    from tickhouse.cli.output import console, print_json
    from tickhouse.cli.render.live import show_outcomes
    from tickhouse.live import jobs
    from tickhouse.live.requests import checked_market

    chosen = [checked_market(name) for name in market or ()]
    with console().status("the producers flush and save their ledgers"):
        outcomes = jobs.stop(load_settings().home, chosen)
    if json:
        print_json([{"market": outcome.market, "outcome": outcome.outcome} for outcome in outcomes])
    else:
        show_outcomes(outcomes)


@live.command()
def status(json: JsonOption = False) -> None:
    """Show each job: whether events arrive, how many, and what is missing."""
    from common.settings import load_settings
    from tickhouse.cli.output import print_json
    from tickhouse.cli.render.live import show_statuses
    from tickhouse.live.status import statuses

    found = statuses(load_settings().home)
    if json:
        print_json([one.as_dict() for one in found])
    else:
        show_statuses(found)
