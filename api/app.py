"""Put the API together: stores, addresses, errors, and the guard in front of all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api import problems
from api.guard import Guard
from api.lake import Lake
from api.live_alerts import follow_alerts
from api.live_hub import LiveHub
from api.metrics import ApiMetrics
from api.principals import Principals
from api.prometheus import PrometheusClient
from api.routes import commit_page, figures, graph, lake, live, market, ops, page, pipeline, rules
from api.routes.common import Server
from api.stores import connect
from api.symbols import Symbols
from common.settings import Settings

DESCRIPTION = """\
Market data of the lakehouse. Prices and quantities are exact decimals as text, times are ISO 8601 in UTC, and lists
come in pages: repeat the request with `cursor` = `next` until `next` is null. Errors are `application/problem+json`.
"""


def make_app(settings: Settings) -> FastAPI:
    """Return the application; it makes no request before it starts."""
    metrics = ApiMetrics()
    stores = connect(settings, metrics)
    hub = LiveHub(stores.live_redis, metrics)
    prometheus = PrometheusClient(settings.prometheus_url)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await stores.open()
        tasks = [asyncio.create_task(hub.run()), asyncio.create_task(follow_alerts(stores))]
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await prometheus.close()
        await stores.close()

    # Without its own pages of documentation, which load scripts from a public network.
    app = FastAPI(
        title="Tickhouse", version="1", description=DESCRIPTION, lifespan=lifespan, docs_url=None, redoc_url=None
    )
    app.state.server = Server(stores, Symbols(stores), Lake(stores.reads), hub, metrics, prometheus)
    app.state.principals = Principals(settings)
    problems.install(app)
    for routes in (market, figures, pipeline, rules, lake, graph, live, ops, page, commit_page):
        app.include_router(routes.router)
    if page.ASSETS.is_dir():
        app.mount("/assets", page.assets())
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]  # FastAPI's own way to change it
    return app


def guarded(app: FastAPI, settings: Settings) -> Guard:
    """Return the application behind its guard."""
    return Guard(app, settings, app.state.principals, app.state.server.metrics)


def _openapi(app: FastAPI) -> dict[str, Any]:
    """Return the description of all addresses; errors have the media type of problem documents."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        for operation in (one for path in document["paths"].values() for one in path.values()):
            for status, response in operation["responses"].items():
                if int(status) >= 400:
                    response["content"] = {problems.MEDIA_TYPE: next(iter(response["content"].values()))}
        app.openapi_schema = document
    return app.openapi_schema
