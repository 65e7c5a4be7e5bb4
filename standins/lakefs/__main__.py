"""Run the lakeFS stand-in: `python -m standins.lakefs --data DIR`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from functools import partial
from pathlib import Path

from aiohttp import web

from common.errors import ConfigurationError, TickhouseError
from common.logs import configure_logging
from standins.lakefs.app import make_app
from standins.lakefs.blocks import BlockStore, LocalBlocks
from standins.lakefs.service import KeyPair, LakeFsStandIn

FIRST_COLLECTION_S = 900.0

DESCRIPTION = """\
The lakeFS stand-in: the part of the lakeFS API (/api/v1) and of its S3 gateway that Tickhouse uses, on one port.
It is not lakeFS. What it covers: docs/reference/lakefs-standin.md."""

EPILOG = """\
environment:
  LAKEFS_ACCESS_KEY_ID, LAKEFS_SECRET_ACCESS_KEY   the one key pair; both are required
  AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY         keys of the block store, with --block-store s3 only

exit codes: 0 stopped by SIGTERM or SIGINT, 2 a setting is wrong or missing (the message names it).
data folder: metadata.sqlite3 (refs, history, staging), blocks/ (bytes, with --block-store local), block-store
(where the bytes are; another store is refused), tmp/, lock."""


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the parsed command line."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m standins.lakefs", None, DESCRIPTION, EPILOG, formatter_class=raw)
    parser.add_argument("--listen", default="127.0.0.1:21050", metavar="HOST:PORT", help="address (%(default)s)")
    parser.add_argument("--data", required=True, type=Path, metavar="DIR", help="data folder, made when missing")
    stores = ("local", "s3")
    parser.add_argument("--block-store", default="local", choices=stores, help="where data blocks go (%(default)s)")
    parser.add_argument("--block-s3-endpoint", metavar="URL", help="S3 endpoint of the block store, e.g. MinIO's")
    parser.add_argument("--block-s3-bucket", metavar="NAME", help="bucket of the block store; must exist")
    every = "hours between garbage collections; 0: none (%(default)s)"
    parser.add_argument("--collect-every", type=float, default=6.0, metavar="HOURS", help=every)
    parser.add_argument("--log-level", default="info", choices=("debug", "info", "warning", "error"))
    parser.add_argument("--access-log", action="store_true", help="log every request")
    return parser.parse_args(arguments)


def read_keys() -> KeyPair:
    """Return the key pair from the environment.

    Raises:
        ConfigurationError: One of the two is missing or empty.
    """
    names = ("LAKEFS_ACCESS_KEY_ID", "LAKEFS_SECRET_ACCESS_KEY")
    missing = [name for name in names if not os.environ.get(name)]
    if missing:
        raise ConfigurationError(
            f"The lakeFS stand-in needs its keys: {' and '.join(missing)} not set.",
            safe="Nothing was started.",
            next_command="export them, or start it through `tickhouse up`",
        )
    return KeyPair(*(os.environ[name] for name in names))


def parse_listen(text: str) -> tuple[str, int]:
    """Return (host, port).

    Raises:
        ConfigurationError: It is not HOST:PORT.
    """
    host, _, port = text.rpartition(":")
    if not host or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ConfigurationError(f"Expected --listen HOST:PORT, was {text!r}.", safe="Nothing was started.")
    return host.strip("[]"), int(port)


def make_blocks(arguments: argparse.Namespace) -> BlockStore:
    """Return the block store that the command line asks for.

    Raises:
        ConfigurationError: The endpoint or the bucket of the S3 store is missing.
    """
    if arguments.block_store == "local":
        return LocalBlocks(arguments.data)
    from standins.lakefs.s3_blocks import S3Blocks

    if not arguments.block_s3_endpoint or not arguments.block_s3_bucket:
        raise ConfigurationError(
            "--block-store s3 needs --block-s3-endpoint and --block-s3-bucket.", safe="Nothing was started."
        )
    return S3Blocks(arguments.data, arguments.block_s3_endpoint, arguments.block_s3_bucket)


async def serve(app: web.Application, host: str, port: int, *, access_log: bool) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        ConfigurationError: The address is in use or not ours.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    logger = logging.getLogger("standins.lakefs.access") if access_log else None
    runner = web.AppRunner(app, access_log=logger, auto_decompress=False, shutdown_timeout=10)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        logging.getLogger("standins.lakefs").info("lakeFS stand-in listening on %s:%d", host, port)
        await stop.wait()
    except OSError as error:
        raise ConfigurationError(f"Cannot listen on {host}:{port}: {error}.", safe="Nothing was changed.") from error
    finally:
        await runner.cleanup()


def main(arguments: list[str] | None = None) -> int:
    """Run the server and return the exit code."""
    parsed = parse_arguments(arguments)
    configure_logging("lakefs")
    logging.getLogger("standins").setLevel(parsed.log_level.upper())
    try:
        keys = read_keys()
        host, port = parse_listen(parsed.listen)
        service = LakeFsStandIn(parsed.data, partial(make_blocks, parsed), keys)
        if parsed.collect_every > 0:
            # The first collection comes early, so that a server that is restarted often collects
            # too, but not while all other services start.
            every_s = parsed.collect_every * 3600
            service.collector.start(min(every_s, FIRST_COLLECTION_S), every_s)
        asyncio.run(serve(make_app(service), host, port, access_log=parsed.access_log))
    except TickhouseError as error:
        logging.getLogger("standins.lakefs").error("%s", error, exc_info=error)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
