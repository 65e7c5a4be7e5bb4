"""`tickhouse replay`: recorded files through the whole pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tickhouse.cli.options import JsonOption


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(replay)


def replay(
    files: Annotated[list[Path], typer.Argument(help="Captures, REST responses, archive CSV or zip.")],
    *,
    market: Annotated[str, typer.Option(help="spot, usdm or coinm.")],
    symbol: Annotated[str | None, typer.Option(help="Symbol of files that do not name it.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Also send what Kafka has; stores keep one copy.")] = False,
    wait: Annotated[bool, typer.Option(help="Return only when everything is visible in the stores.")] = True,
    timeout_s: Annotated[float, typer.Option(help="Longest wait for the stores.")] = 300.0,
    sample_s: Annotated[int, typer.Option(min=1, help="Keep one tick per symbol and stream in this many seconds.")] = 5,
    json: JsonOption = False,
) -> None:
    """Replay recorded files, each id once; a repeated run continues where the last one ended."""
    from common.logs import configure_logging
    from common.settings import load_settings
    from tickhouse.cli.output import print_json
    from tickhouse.cli.render.ingest import replay_bars, show_replay, waiting_for_stores
    from tickhouse.ingest import replay as ingest
    from tickhouse.ingest.visibility import wait_for_stores

    configure_logging("replay", is_command=True)
    settings = load_settings()
    options = ingest.ReplayOptions(market, symbol, sample_s, is_forced=again)
    with replay_bars() as progress:
        result = ingest.replay(settings, files, options, progress=progress)
    visible_after_s = None
    if wait:
        with waiting_for_stores() as lagging:
            visible_after_s = wait_for_stores(settings, result.expected(), timeout_s=timeout_s, progress=lagging)
    if json:
        print_json(result.document(visible_after_s))
    else:
        show_replay(result, visible_after_s)
    result.require_events()
