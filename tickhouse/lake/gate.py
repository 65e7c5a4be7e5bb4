"""The gate before `main`: the webhook that lakeFS asks before a merge, and that refuses what no audit has passed.

    python -m tickhouse.lake.gate --listen 127.0.0.1:21058

`POST /publish` takes lakeFS's event and answers 200 (may pass) or 403 with the reason; lakeFS keeps it in the
output of the hook's run. Any doubt is a refusal: while the gate is down or cannot read the lake, nothing is merged.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from typing import Any

import structlog
from aiohttp import web

from tickhouse.errors import TickhouseError
from tickhouse.lake import audit
from tickhouse.lake.client import lake_errors, repository
from tickhouse.settings import Settings, load_settings

SETTINGS: web.AppKey[Settings] = web.AppKey("settings", Settings)
log = structlog.get_logger("lake.gate")


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m tickhouse.lake.gate", description="Refuse unaudited merges.")
    parser.add_argument("--listen", metavar="HOST:PORT", required=True)
    host, _, port = parser.parse_args().listen.rpartition(":")
    web.run_app(make_app(load_settings()), host=host, port=int(port), print=None, access_log=None)


def make_app(settings: Settings) -> web.Application:
    """Return the server; makes no request."""
    app = web.Application()
    app[SETTINGS] = settings
    app.router.add_get("/health", _health)
    app.router.add_post("/publish", _publish)
    return app


async def _health(_: web.Request) -> web.Response:
    return web.Response(text="ok\n")


async def _publish(request: web.Request) -> web.Response:
    try:
        event = await request.json()
    except json.JSONDecodeError as error:
        return web.Response(status=400, text=f"expected lakeFS's event as JSON: {error}\n")
    reason = await asyncio.to_thread(refusal, request.app[SETTINGS], event)
    told = {key: event.get(key) for key in ("event_type", "branch_id", "merge_source", "source_ref")}
    log.info("refused" if reason else "passed", reason=reason, **told)
    return web.Response(status=403, text=f"refused: {reason}\n") if reason else web.Response(text="passed\n")


def refusal(settings: Settings, event: dict[str, Any]) -> str:
    """Return why an event may not go on; empty when it may."""
    if event.get("repository_id") != settings.lake_repository:
        return f"this gate is for repository {settings.lake_repository}"
    if event.get("event_type") != "pre-merge":
        return f"{event.get('event_type')} is not how {event.get('branch_id')} moves: use tickhouse lake rollback"
    try:
        with lake_errors(settings):
            lake = repository(settings)
            return audit.refusal(audit.candidate(lake, str(event["source_ref"]), str(event["branch_id"])))
    except (TickhouseError, KeyError) as error:
        return f"the gate could not look: {error}"


if __name__ == "__main__":
    main()
