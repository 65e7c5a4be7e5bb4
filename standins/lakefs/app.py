"""The HTTP application: API routes, the S3 gateway for other paths, error responses of both."""

from __future__ import annotations

import asyncio
import logging
import sqlite3

from aiohttp import web
from aiohttp.typedefs import Handler

from common.web_guard import refuse_foreign_pages
from standins.lakefs import api_errors, s3_common, s3_gateway
from standins.lakefs import api_history as history
from standins.lakefs import api_objects as objects
from standins.lakefs import api_repositories as repositories
from standins.lakefs.api_common import API, SERVICE, authenticate, error_response
from standins.lakefs.service import LakeFsStandIn

LOG = logging.getLogger("standins.lakefs")
OPEN_PATHS = {f"{API}/healthcheck", f"{API}/setup_lakefs", f"{API}/auth/login"}
HEALTH_PATH = "/_health"
# Limit for JSON and XML documents. Object bodies are streamed and have no limit.
MAX_DOCUMENT_BYTES = 16 << 20

R = "/repositories/{repository}"
B = R + "/branches/{branch}"

ROUTES: list[tuple[str, str, Handler]] = [
    ("GET", "/healthcheck", repositories.healthcheck),
    ("GET", "/setup_lakefs", repositories.setup_state),
    ("POST", "/auth/login", repositories.login),
    ("GET", "/config", repositories.config),
    ("GET", "/config/storage", repositories.config_storage),
    ("GET", "/config/version", repositories.config_version),
    ("GET", "/user", repositories.user),
    ("GET", "/repositories", repositories.list_repositories),
    ("POST", "/repositories", repositories.create_repository),
    ("GET", R, repositories.get_repository),
    ("DELETE", R, repositories.delete_repository),
    ("GET", R + "/metadata", repositories.get_metadata),
    ("POST", R + "/metadata", repositories.set_metadata),
    ("DELETE", R + "/metadata", repositories.delete_metadata),
    ("GET", R + "/settings/branch_protection", repositories.get_protection),
    ("PUT", R + "/settings/branch_protection", repositories.set_protection),
    ("GET", R + "/settings/gc_rules", repositories.get_gc_rules),
    ("PUT", R + "/settings/gc_rules", repositories.set_gc_rules),
    ("DELETE", R + "/settings/gc_rules", repositories.delete_gc_rules),
    ("GET", R + "/branches", repositories.list_branches),
    ("POST", R + "/branches", repositories.create_branch),
    ("GET", B, repositories.get_branch),
    ("DELETE", B, repositories.delete_branch),
    ("PUT", B, history.reset),
    ("PUT", B + "/hard_reset", history.hard_reset),
    ("POST", B + "/commits", history.commit),
    ("POST", B + "/revert", history.revert),
    ("POST", B + "/cherry-pick", history.cherry_pick),
    ("GET", B + "/diff", history.diff_branch),
    ("POST", B + "/objects", objects.upload),
    ("DELETE", B + "/objects", objects.delete),
    ("POST", B + "/objects/delete", objects.delete_many),
    ("POST", B + "/objects/copy", objects.copy),
    ("PUT", B + "/objects/stat/user_metadata", objects.set_user_metadata),
    ("GET", R + "/commits/{commit}", repositories.get_commit),
    ("GET", R + "/refs/{ref}/commits", history.log),
    ("GET", R + "/refs/{left}/diff/{right}", history.diff_refs),
    ("GET", R + "/refs/{source}/merge/{destination}", history.find_merge_base),
    ("POST", R + "/refs/{source}/merge/{destination}", history.merge),
    ("GET", R + "/refs/{ref}/objects", objects.read),
    ("GET", R + "/refs/{ref}/objects/stat", objects.stat),
    ("GET", R + "/refs/{ref}/objects/ls", objects.listing),
    ("GET", R + "/refs/{ref}/objects/underlyingProperties", objects.underlying),
    ("GET", R + "/tags", repositories.list_tags),
    ("POST", R + "/tags", repositories.create_tag),
    ("GET", R + "/tags/{tag}", repositories.get_tag),
    ("DELETE", R + "/tags/{tag}", repositories.delete_tag),
    ("GET", R + "/actions/runs", history.list_runs),
    ("GET", R + "/actions/runs/{run}", history.get_run),
    ("GET", R + "/actions/runs/{run}/hooks", history.list_hook_runs),
    ("GET", R + "/actions/runs/{run}/hooks/{hook}/output", history.hook_output),
]


async def _unknown(request: web.Request) -> web.Response:
    raise api_errors.not_implemented(f"{request.method} {request.path}")


def _is_api(request: web.Request) -> bool:
    return request.path == API or request.path.startswith(API + "/")


def _is_routed(request: web.Request) -> bool:
    return _is_api(request) or request.path == HEALTH_PATH


@web.middleware
async def error_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Authenticate API calls and turn errors into the API's JSON or the gateway's XML."""
    try:
        if _is_api(request) and request.path not in OPEN_PATHS:
            authenticate(request, request.app[SERVICE].keys)
        # Keys may contain any character, so the gateway parses the raw path itself and uses no
        # route pattern.
        return await (handler(request) if _is_routed(request) else s3_gateway.handle(request))
    except api_errors.Refusal as error:
        return _error_response(request, error)
    except (OSError, sqlite3.Error) as error:
        # The disk or the metadata file failed: clients may try again, the operator must act.
        if isinstance(error, ConnectionError):
            raise
        LOG.exception("storage failed", extra={"path": request.path})
        return _error_response(request, api_errors.Refusal(500, f"storage failed: {error}", "InternalError"))


def _error_response(request: web.Request, error: api_errors.Refusal) -> web.Response:
    if _is_api(request):
        return error_response(error.status, error.message, error.headers)
    return s3_common.error_response(request, error)


async def _close(app: web.Application) -> None:
    await asyncio.get_running_loop().run_in_executor(None, app[SERVICE].close)


def make_app(service: LakeFsStandIn) -> web.Application:
    """Return the application of one stand-in; it closes the stand-in on shutdown."""
    app = web.Application(middlewares=[refuse_foreign_pages, error_middleware], client_max_size=MAX_DOCUMENT_BYTES)
    app[SERVICE] = service
    for method, path, handler in ROUTES:
        if method == "GET":
            app.router.add_get(API + path, handler)  # serves HEAD as well
        else:
            app.router.add_route(method, API + path, handler)
    app.router.add_get(HEALTH_PATH, repositories.healthcheck)
    app.router.add_route("*", API + r"/{tail:[\s\S]*}", _unknown)
    app.on_cleanup.append(_close)
    return app
