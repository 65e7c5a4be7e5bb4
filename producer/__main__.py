"""`python -m producer live|job`: take live streams into Kafka until SIGTERM or SIGINT.

`live` takes its options from the command line, `job` from the file that `tickhouse live start`
wrote.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, NamedTuple

import httpx
import structlog
import typer
import uvloop

from common.errors import ConfigurationError, TickhouseError
from common.live_job import read_job
from common.logs import configure_logging
from common.settings import Settings, load_settings, ports
from common.symbols import check_given_symbol
from producer.events import TICK_STREAMS, TRADE_STREAMS, check_market
from producer.exchange.rest import RestClient
from producer.live import SYMBOLS_EVERY_S, Live, LiveOptions
from producer.market_check import claim_market
from producer.market_lease import market_lease
from producer.metrics import LabelledGauge, ProducerCollector, serve_metrics
from producer.recovery.silent_streams import EVERY_S
from producer.signals import STOP_SIGNALS
from producer.writer.ledger_store import LIVE
from producer.writer.open_writer import (
    DEFAULT_LINGER_MS,
    DEFAULT_SAMPLE_S,
    Writer,
    now_us,
    open_writer,
)

log = structlog.get_logger(__name__)
app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_show_locals=False)


@app.callback()
def main() -> None:
    """Take events from the exchange into Kafka."""


@app.command()
def live(
    *,
    symbols: Annotated[str, typer.Option(help="Comma-separated; `all` takes every symbol that trades.")] = "all",
    market: Annotated[str, typer.Option(help="spot, usdm or coinm.")] = "spot",
    streams: Annotated[str, typer.Option(help="Comma-separated stream names.")] = "aggTrade,ticker",
    ws_url: Annotated[str | None, typer.Option(help="Base of the WebSocket; default from the settings.")] = None,
    rest_url: Annotated[str | None, typer.Option(help="Base of the REST API; default from the settings.")] = None,
    sample_s: Annotated[int, typer.Option(min=1, help="Seconds of which one tick per symbol and stream is kept.")] = (
        DEFAULT_SAMPLE_S
    ),
    linger_ms: Annotated[
        int, typer.Option(min=0, help="How long a record waits to be sent with others.")
    ] = DEFAULT_LINGER_MS,
    snapshot_s: Annotated[float, typer.Option(min=0.1, help="Seconds between ledger snapshots.")] = 5.0,
    symbols_every_s: Annotated[
        float, typer.Option(min=1, help="Seconds between checks for new symbols.")
    ] = SYMBOLS_EVERY_S,
    silent_s: Annotated[
        float, typer.Option(min=1, help="Seconds without any byte after which a connection is dead.")
    ] = 60.0,
    compare_every_s: Annotated[
        float, typer.Option(min=0.5, help="Seconds between comparisons of quiet streams with REST.")
    ] = EVERY_S,
    metrics_port: Annotated[
        int | None, typer.Option(help="Where the metrics are served; default: producer_metrics.")
    ] = None,
) -> None:
    """Take live streams until SIGTERM or SIGINT; then flush, save the ledger and exit 0."""
    configure_logging("producer")
    settings = load_settings()
    options = LiveOptions(
        streams=_streams(streams),
        ws_url=ws_url or settings.exchange_ws_url,
        ws_routes=settings.exchange_ws_routes,
        compare_every_s=compare_every_s,
        symbols=() if symbols == "all" else tuple(check_given_symbol(name) for name in symbols.split(",")),
        symbols_every_s=symbols_every_s,
        snapshot_every_s=snapshot_s,
        limits={"silent_s": silent_s},
    )
    producer = _Producer(check_market(market), options, rest_url, sample_s, linger_ms, metrics_port)
    _serve(settings, producer)


@app.command()
def job(file: Annotated[Path, typer.Argument(help="A job that `tickhouse live start` wrote.")]) -> None:
    """Take what a live job names until SIGTERM or SIGINT; then flush, save and exit 0."""
    configure_logging("producer")
    found = read_job(file)
    if found is None:
        raise ConfigurationError(f"There is no live job {file}.", next_command="tickhouse live start")
    request, settings = found.request, load_settings()
    options = LiveOptions(
        streams=request.streams,
        ws_url=request.ws_url,
        ws_routes=settings.exchange_ws_routes,
        symbols=found.symbols,
        quote="" if found.symbols else request.selection.quote,
        is_rest_only=request.is_rest_only,
    )
    port = ports()[f"live_{request.market}_metrics"]
    producer = _Producer(request.market, options, request.rest_url, request.sample_s, metrics_port=port)
    _serve(settings, producer)


class _Producer(NamedTuple):
    """How one producer is run; `rest_url` and `metrics_port` have defaults of the installation."""

    market: str
    options: LiveOptions
    rest_url: str | None
    sample_s: int
    linger_ms: int = DEFAULT_LINGER_MS
    metrics_port: int | None = None


def _serve(settings: Settings, producer: _Producer) -> None:
    with market_lease(settings.home, producer.market):
        writer = open_writer(
            settings, market=producer.market, writer=LIVE, sample_s=producer.sample_s, linger_ms=producer.linger_ms
        )
        # Objects loaded until now live as long as the process, so the garbage collector need not
        # check them again.
        gc.collect()
        gc.freeze()
        uvloop.run(_run(settings, writer, producer))


def _streams(text: str) -> tuple[str, ...]:
    known = (*TRADE_STREAMS, *TICK_STREAMS)
    chosen = tuple(text.split(","))
    if unknown := [name for name in chosen if name not in known]:
        raise ConfigurationError(f"There are no streams {unknown}; the streams are {known}.")
    return chosen


async def _run(settings: Settings, writer: Writer, producer: _Producer) -> None:
    stop = asyncio.Event()
    for number in STOP_SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with httpx.AsyncClient() as http:
        rest_url = producer.rest_url or settings.exchange_rest_url
        rest = RestClient(http, rest_url, writer.intake.market, clock=time.time)
        await claim_market(settings, writer, http, producer.rest_url)
        running = Live(writer, rest, producer.options)
        port = producer.metrics_port or ports()["producer_metrics"]
        stop_metrics = serve_metrics(_collector(running), port, settings.metrics_host)
        try:
            await running.run(stop)
        finally:
            stop_metrics()
    log.info("stopped", **writer.intake.totals())


def _collector(running: Live) -> ProducerCollector:
    return ProducerCollector(running.writer.intake, _gauges(running), _labelled_gauges(running))


def _gauges(running: Live) -> dict[str, Callable[[], float]]:
    writer, book, rest, silence = running.writer, running.writer.gaps, running.rest, running.silence
    return {
        "gaps_open": lambda: len(book.open_gaps()),
        "gaps_open_ids": lambda: sum(gap.size for gap in book.open_gaps()),
        "gaps_filled_ids": lambda: book.filled_ids,
        "reconnects": lambda: running.shards.reconnects,
        "connections": lambda: running.shards.connected,
        "is_blocked": lambda: float(running.shards.is_blocked()),
        "is_rest_only": lambda: float(running.options.is_rest_only),
        "symbols": lambda: len(running.symbols),
        "subscriptions_refused": lambda: len(running.shards.refused),
        "rest_polls": lambda: running.polls,
        "rest_requests": lambda: rest.requests,
        "rest_limited": lambda: rest.limited,
        "rest_weight": lambda: rest.weight,
        "rest_weight_this_minute": lambda: rest.budget.used(time.time()),
        "rest_weight_limit": lambda: rest.budget.limit,
        "rest_failing_seconds": lambda: rest.failures.down_s,
        "silent_streams": lambda: len(silence.silent_s()),
        "silent_streams_seen": lambda: silence.episodes,
        "silence_requests": lambda: silence.requests,
        "silence_weight": lambda: silence.weight,
        "queue_depth_frames": lambda: len(running.frame_queue),
        "lag_records": writer.outbox.queued,
        "last_event_age_seconds": lambda: _age_s(writer.intake.last_event_us),
    }


def _labelled_gauges(running: Live) -> list[LabelledGauge]:
    market, silence, rest = running.writer.intake.market, running.silence, running.rest
    by_stream = ("market", "stream", "symbol")
    return [
        LabelledGauge(
            "silent_stream_seconds",
            "Seconds for which a stream has been silent.",
            by_stream,
            lambda: {(market, *name): seconds for name, seconds in silence.silent_s().items()},
        ),
        LabelledGauge(
            "refused_stream",
            "Binance's error code of a stream that REST refuses.",
            by_stream,
            lambda: {(market, *name): code for name, code in dict(running.filler.refused).items()},
        ),
        LabelledGauge(
            "rest_failures",
            "REST attempts without an answer.",
            ("kind",),
            lambda: {(kind,): count for kind, count in dict(rest.failures.counts).items()},
        ),
    ]


def _age_s(event_us: int) -> float:
    return (now_us() - event_us) / 1e6 if event_us else float("nan")


if __name__ == "__main__":
    # A supervisor reads the exit code: 0 stopped, others as in common/errors.py.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # until the loop has its own handler
    try:
        app()
    except TickhouseError as error:
        log.error("fatal", exc_info=error)
        sys.exit(error.exit_code)
