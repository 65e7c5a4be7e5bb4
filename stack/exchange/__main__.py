"""Run the look-alike: `python -m stack.exchange --listen 127.0.0.1:21070 [--config FILE.yaml]`."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from pathlib import Path

import uvloop
from aiohttp import web

from stack.exchange.config import DEMO, ExchangeConfig, load_config
from stack.exchange.market import Market
from stack.exchange.recorded import RecordedTape
from stack.exchange.server import Server
from stack.exchange.tape import SyntheticTape, Tape
from tickhouse.errors import ConfigurationError, ServiceNotReady, TickhouseError
from tickhouse.settings import home


def main(arguments: list[str] | None = None) -> int:
    """Serve until a signal; return the exit code of the error otherwise."""
    options = _parser().parse_args(arguments)
    try:
        host, port = _address(options.listen)
        config = load_config(DEMO if options.demo else options.config)
        asyncio.Runner(loop_factory=uvloop.new_event_loop).run(_serve(host, port, config))
    except TickhouseError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m stack.exchange", description="A local Binance look-alike.")
    parser.add_argument("--listen", required=True, metavar="HOST:PORT", help="address to serve on; port 0 picks one")
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--config", type=Path, metavar="FILE.yaml", help="see docs/reference/exchange.md")
    chosen.add_argument("--demo", action="store_true", help="play stack/exchange/demo.yaml")
    return parser


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65_535:
        raise ConfigurationError(f"Expected --listen HOST:PORT, was {text!r}.", safe="Nothing was started.")
    return host, int(port)


def tape_of(config: ExchangeConfig) -> Tape:
    """Return what a configuration plays.

    Raises:
        ConfigurationError: A capture file is missing or not understood.
    """
    if config.capture is not None:
        return RecordedTape.load(config.capture)
    return SyntheticTape(Market.build(config.full_market))


async def _serve(host: str, port: int, config: ExchangeConfig) -> None:
    server = Server(config, tape_of(config), home() / "truth" / "exchange.json")
    runner = web.AppRunner(server.app(), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, host, port)
    try:
        await site.start()
        sys.stdout.write(f"exchange on http://{host}:{_bound_port(runner, port)}\n")
        sys.stdout.flush()
        await _until_signal()
    except OSError as error:
        raise ServiceNotReady(f"The exchange cannot listen on {host}:{port}: {error.strerror}.") from error
    finally:
        await runner.cleanup()


def _bound_port(runner: web.AppRunner, port: int) -> int:
    return int(runner.addresses[0][1]) if port == 0 else port


async def _until_signal() -> None:
    stop = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    await stop.wait()


if __name__ == "__main__":
    sys.exit(main())
