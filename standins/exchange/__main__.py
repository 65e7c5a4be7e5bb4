"""Run the local exchange: `python -m standins.exchange --listen HOST:PORT [--config FILE.yaml]`."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from pathlib import Path

import structlog
import uvloop
from aiohttp import web

from common.errors import ConfigurationError, ServiceNotReady, TickhouseError
from common.logs import configure_logging
from common.market_kind import refuse_other
from common.settings import home
from standins.exchange.config import DEMO, ExchangeConfig, load_config
from standins.exchange.frame_source import FrameSource, SyntheticSource
from standins.exchange.recorded_market import RecordedSource
from standins.exchange.server import ExchangeServer
from standins.exchange.synthetic_market import SyntheticMarket

log = structlog.get_logger("standins.exchange")


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT and return the exit code."""
    options = _parser().parse_args(arguments)
    configure_logging("exchange")
    try:
        host, port = _address(options.listen)
        config = load_config(DEMO if options.demo else options.config)
        if config.capture is None:
            refuse_other(home(), "simulated")
        asyncio.Runner(loop_factory=uvloop.new_event_loop).run(_serve(host, port, config))
    except TickhouseError as error:
        log.error("fatal", exc_info=error)
        return error.exit_code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m standins.exchange", description="A local Binance look-alike.")
    parser.add_argument("--listen", required=True, metavar="HOST:PORT", help="address to serve on; port 0 picks one")
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--config", type=Path, metavar="FILE.yaml", help="see docs/reference/exchange.md")
    chosen.add_argument("--demo", action="store_true", help="play standins/exchange/demo.yaml")
    return parser


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65_535:
        raise ConfigurationError(f"Expected --listen HOST:PORT, was {text!r}.", safe="Nothing was started.")
    return host, int(port)


def frame_source_of(config: ExchangeConfig) -> FrameSource:
    """Return the market that a configuration plays.

    Raises:
        ConfigurationError: A capture file is missing or of an unknown format.
    """
    if config.capture is not None:
        return RecordedSource.load(config.capture)
    return SyntheticSource(SyntheticMarket.build(config.full_market))


async def _serve(host: str, port: int, config: ExchangeConfig) -> None:
    server = ExchangeServer(config, frame_source_of(config), home() / "truth" / "exchange.json")
    runner = web.AppRunner(server.app(), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, host, port)
    try:
        await site.start()
        sys.stdout.write(f"exchange on http://{host}:{_bound_port(runner, port)}\n")
        sys.stdout.flush()
        await _wait_for_signal()
    except OSError as error:
        raise ServiceNotReady(f"The exchange cannot listen on {host}:{port}: {error.strerror}.") from error
    finally:
        await runner.cleanup()


def _bound_port(runner: web.AppRunner, port: int) -> int:
    return int(runner.addresses[0][1]) if port == 0 else port


async def _wait_for_signal() -> None:
    stop = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    await stop.wait()


if __name__ == "__main__":
    sys.exit(main())
