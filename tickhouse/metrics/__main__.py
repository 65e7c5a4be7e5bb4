"""Serve the metrics of the stores, and the list of targets, to Prometheus.

    python -m tickhouse.metrics --listen 127.0.0.1:21084

`GET /metrics` answers at once with what was read last; `GET /targets` is Prometheus' HTTP service
discovery.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from functools import partial

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from common.logs import configure_logging
from common.settings import load_settings
from common.web_guard import refuse_foreign_pages
from tickhouse.metrics.figures import families
from tickhouse.metrics.readers import StoreReaders
from tickhouse.metrics.sources import local_sources, store_sources
from tickhouse.metrics.targets import targets

READERS: web.AppKey[StoreReaders] = web.AppKey("readers", StoreReaders)
REGISTRY: web.AppKey[CollectorRegistry] = web.AppKey("registry", CollectorRegistry)
REFRESH_S = 10.0


class StoreCollector(Collector):
    """Makes the metrics of one scrape from what the readers have.

    Args:
        readers: The readers.
    """

    def __init__(self, readers: StoreReaders) -> None:
        self._readers = readers

    def collect(self) -> Iterator[Metric]:
        """Yield every metric."""
        yield from families(self._readers.collect())


def main() -> None:
    """Serve until the process is stopped."""
    parser = argparse.ArgumentParser(prog="python -m tickhouse.metrics", description="Serve metrics of the stores.")
    parser.add_argument("--listen", metavar="HOST:PORT", required=True)
    host, _, port = parser.parse_args().listen.rpartition(":")
    configure_logging("store_metrics")
    readers = StoreReaders(partial(store_sources, load_settings()), local_sources())
    web.run_app(make_app(readers), host=host, port=int(port), print=None, access_log=None)


def make_app(readers: StoreReaders) -> web.Application:
    """Return the server of some readers."""
    app = web.Application(middlewares=[refuse_foreign_pages])
    app[READERS], app[REGISTRY] = readers, CollectorRegistry()
    app[REGISTRY].register(StoreCollector(readers))
    ProcessCollector(registry=app[REGISTRY])
    app.router.add_get("/health", _health)
    app.router.add_get("/metrics", _metrics)
    app.router.add_get("/targets", _targets)
    app.cleanup_ctx.append(_refreshing)
    return app


async def _refreshing(app: web.Application) -> AsyncIterator[None]:
    """Look for stores that were enabled meanwhile, for as long as the server runs."""

    async def refresh() -> None:
        while True:
            await asyncio.to_thread(app[READERS].refresh)
            await asyncio.sleep(REFRESH_S)

    task = asyncio.create_task(refresh())
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    app[READERS].stop()


async def _health(_: web.Request) -> web.Response:
    return web.Response(text="ok\n")


async def _metrics(request: web.Request) -> web.Response:
    text = await asyncio.to_thread(generate_latest, request.app[REGISTRY])
    return web.Response(body=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})


async def _targets(_: web.Request) -> web.Response:
    return web.json_response(await asyncio.to_thread(targets))


if __name__ == "__main__":
    main()
