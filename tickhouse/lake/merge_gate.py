"""The merge gate: a webhook that lakeFS calls before a merge, and that refuses unaudited data.

    python -m tickhouse.lake.merge_gate --listen 127.0.0.1:21058

`POST /publish` takes lakeFS's event and answers 200 (merge) or 403 with the reason, which lakeFS
keeps in the output of the hook's run. While the gate is down or cannot read the lake, nothing is
merged. `GET /metrics` counts the results.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from typing import Any

import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, generate_latest

from common.clients.lakefs import lake_errors, repository
from common.errors import TickhouseError
from common.logs import configure_logging, correlated
from common.settings import Settings, load_settings
from common.web_guard import refuse_foreign_pages
from tickhouse.lake import audit_verdict


class GateMetrics:
    """The metrics of the gate, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.merges = Counter("tickhouse_gate_merges", "Merges by result.", ["result"], registry=self.registry)


SETTINGS: web.AppKey[Settings] = web.AppKey("settings", Settings)
METRICS: web.AppKey[GateMetrics] = web.AppKey("metrics", GateMetrics)
log = structlog.get_logger("lake.gate")


def main() -> None:
    """Serve until the process is stopped."""
    parser = argparse.ArgumentParser(prog="python -m tickhouse.lake.merge_gate", description="Refuse unaudited merges.")
    parser.add_argument("--listen", metavar="HOST:PORT", required=True)
    host, _, port = parser.parse_args().listen.rpartition(":")
    configure_logging("lake_gate")
    web.run_app(make_app(load_settings()), host=host, port=int(port), print=None, access_log=None)


def make_app(settings: Settings) -> web.Application:
    """Return the server; makes no request."""
    app = web.Application(middlewares=[refuse_foreign_pages])
    app[SETTINGS], app[METRICS] = settings, GateMetrics()
    app.router.add_get("/health", _health)
    app.router.add_get("/metrics", _metrics)
    app.router.add_post("/publish", _publish)
    return app


async def _health(_: web.Request) -> web.Response:
    return web.Response(text="ok\n")


async def _metrics(request: web.Request) -> web.Response:
    text = generate_latest(request.app[METRICS].registry)
    return web.Response(body=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})


async def _publish(request: web.Request) -> web.Response:
    try:
        event = await request.json()
    except json.JSONDecodeError as error:
        return web.Response(status=400, text=f"expected lakeFS's event as JSON: {error}\n")
    reason = await asyncio.to_thread(refusal_reason, request.app[SETTINGS], event)
    fields = {key: event.get(key) for key in ("event_type", "branch_id", "merge_source", "source_ref")}
    with correlated(f"commit:{event.get('source_ref')}"):
        log.info("merge_refused" if reason else "merge_passed", reason=reason, **fields)
    request.app[METRICS].merges.labels("refused" if reason else "passed").inc()
    return web.Response(status=403, text=f"refused: {reason}\n") if reason else web.Response(text="passed\n")


def refusal_reason(settings: Settings, event: dict[str, Any]) -> str:
    """Return why an event is refused; an empty string when it is allowed."""
    if event.get("repository_id") != settings.lake_repository:
        return f"this gate is for repository {settings.lake_repository}"
    if event.get("event_type") != "pre-merge":
        return f"{event.get('event_type')} is not allowed on {event.get('branch_id')}: use tickhouse lake rollback"
    try:
        with lake_errors(settings):
            lake = repository(settings)
            candidate = audit_verdict.read_candidate(lake, str(event["source_ref"]), str(event["branch_id"]))
            return audit_verdict.refusal_reason(candidate)
    except (TickhouseError, KeyError) as error:
        return f"the gate could not read the lake: {error}"


if __name__ == "__main__":
    main()
