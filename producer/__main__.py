"""`python -m producer live`: take the exchange's streams into Kafka until told to stop."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
import time
from typing import Annotated

import httpx
import structlog
import typer
import uvloop

from producer.events import TICK_STREAMS, TRADE_STREAMS, check_market, check_symbol
from producer.live import SYMBOLS_EVERY_S, Live, LiveOptions
from producer.metrics import ProducerCollector, serve_metrics
from producer.rest import RestClient
from producer.runtime import DEFAULT_LINGER_MS, DEFAULT_SAMPLE_S, Writer, configure_logging, now_us, open_writer
from producer.signals import STOP_SIGNALS
from producer.store import LIVE
from tickhouse.errors import ConfigurationError, TickhouseError
from tickhouse.settings import Settings, load_settings, ports

log = structlog.get_logger(__name__)
app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_show_locals=False)


@app.callback()
def main() -> None:
    """Exchange to Kafka."""


@app.command()
def live(
    *,
    symbols: Annotated[str, typer.Option(help="Comma-separated, or `all` that trade.")] = "all",
    market: Annotated[str, typer.Option(help="spot, usdm or coinm.")] = "spot",
    streams: Annotated[str, typer.Option(help="Comma-separated stream names.")] = "aggTrade,ticker",
    ws_url: Annotated[str | None, typer.Option(help="Base of the WebSocket; default from the settings.")] = None,
    rest_url: Annotated[str | None, typer.Option(help="Base of the REST API; default from the settings.")] = None,
    sample_s: Annotated[int, typer.Option(min=1, help="One tick a symbol and stream every so many s.")] = (
        DEFAULT_SAMPLE_S
    ),
    linger_ms: Annotated[int, typer.Option(min=0, help="How long a record waits for company.")] = DEFAULT_LINGER_MS,
    snapshot_s: Annotated[float, typer.Option(min=0.1, help="Ledger snapshot every so many s.")] = 5.0,
    symbols_every_s: Annotated[
        float, typer.Option(min=1, help="Seconds between looks for new symbols.")
    ] = SYMBOLS_EVERY_S,
    silent_s: Annotated[float, typer.Option(min=1, help="No byte for so long: the connection is dead.")] = 60.0,
) -> None:
    """Take live streams until SIGTERM or SIGINT; then flush, write the ledger and exit 0."""
    configure_logging()
    settings = load_settings()
    options = LiveOptions(
        streams=_streams(streams),
        ws_url=ws_url or settings.exchange_ws_url,
        symbols=() if symbols == "all" else tuple(check_symbol(name) for name in symbols.split(",")),
        symbols_every_s=symbols_every_s,
        snapshot_every_s=snapshot_s,
        limits={"silent_s": silent_s},
    )
    writer = open_writer(settings, market=check_market(market), writer=LIVE, sample_s=sample_s, linger_ms=linger_ms)
    # What was loaded stays for good: the collector need not look at it again and again.
    gc.collect()
    gc.freeze()
    uvloop.run(_run(settings, writer, options, rest_url))


def _streams(text: str) -> tuple[str, ...]:
    known = (*TRADE_STREAMS, *TICK_STREAMS)
    chosen = tuple(text.split(","))
    if unknown := [name for name in chosen if name not in known]:
        raise ConfigurationError(f"Expected streams of {known}, was {unknown}.")
    return chosen


async def _run(settings: Settings, writer: Writer, options: LiveOptions, rest_url: str | None) -> None:
    stop = asyncio.Event()
    for number in STOP_SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with httpx.AsyncClient() as http:
        rest = RestClient(http, rest_url or settings.exchange_rest_url, writer.intake.market, clock=time.time)
        running = Live(writer, rest, options)
        stop_metrics = serve_metrics(_collector(running), ports()["producer_metrics"])
        try:
            await running.run(stop)
        finally:
            stop_metrics()
    log.info("stopped", **writer.intake.totals())


def _collector(running: Live) -> ProducerCollector:
    writer, book = running.writer, running.writer.gaps
    return ProducerCollector(
        writer.intake,
        {
            "gaps_open": lambda: len(book.open_gaps()),
            "gaps_open_ids": lambda: sum(gap.size for gap in book.open_gaps()),
            "gaps_filled_ids": lambda: book.filled_ids,
            "reconnects": lambda: running.shards.reconnects,
            "connections": lambda: running.shards.connected,
            "is_blocked": lambda: float(running.shards.is_blocked()),
            "rest_polls": lambda: running.polls,
            "rest_requests": lambda: running.rest.requests,
            "rest_limited": lambda: running.rest.limited,
            "queue_depth_frames": lambda: len(running.inbox),
            "lag_records": writer.outbox.queued,
            "last_event_age_seconds": lambda: _age_s(writer.intake.last_event_us),
        },
    )


def _age_s(event_us: int) -> float:
    return (now_us() - event_us) / 1e6 if event_us else float("nan")


if __name__ == "__main__":
    # A supervisor reads the exit code: 0 stopped, others as in tickhouse/errors.py.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # until the loop has its own handler
    try:
        app()
    except TickhouseError as error:
        log.error("fatal", error=type(error).__name__, detail=str(error))
        sys.exit(error.exit_code)
