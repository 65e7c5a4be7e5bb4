"""The live page, the operations page, their files, and what is about the server itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles

from api.problems import ApiProblem
from api.routes.common import Serving
from stack.engine.npm_packages import npm_packages

PAGE = Path(__file__).resolve().parent.parent / "page"
ASSETS = PAGE / "assets"
CHART = "dist/lightweight-charts.standalone.production.mjs"
# The modules of two versions of the page must never mix in a browser's cache.
REVALIDATE: Final = {"Cache-Control": "no-cache"}
router = APIRouter(include_in_schema=False)


@router.get("/")
async def index(request: Request) -> Response:
    """Return the live page, and begin its session."""
    return _page(request, "index.html")


@router.get("/ops")
async def operations(request: Request) -> Response:
    """Return the operations page, and begin its session."""
    return _page(request, "ops.html")


def _page(request: Request, name: str) -> Response:
    file = PAGE / name
    if not file.is_file():
        raise ApiProblem(404, "not-found", "The page is not built.", "make setup")
    port = urlsplit(f"//{request.headers['host']}").port or 80
    cookie = request.app.state.principals.new_cookie(port)
    return FileResponse(file, headers={"Set-Cookie": cookie, **REVALIDATE})


@router.get("/assets/lightweight-charts.js")
async def chart_library() -> Response:
    """Return the chart of the pages, from the cache that `make setup` fills."""
    file = npm_packages()["lightweight-charts"].folder / CHART
    if not file.is_file():
        raise ApiProblem(404, "not-found", "The chart library is not in the cache.", "make setup")
    return FileResponse(file, media_type="text/javascript", headers=REVALIDATE)


@router.get("/healthz")
async def health() -> Response:
    """Return that the process serves; it does not ask the stores."""
    return PlainTextResponse("ok\n")


@router.get("/metrics")
async def metrics(server: Serving) -> Response:
    """Return the figures of the process for Prometheus."""
    return Response(server.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


class _Assets(StaticFiles):
    """The page's files; a browser asks each time whether they are still the same."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """Return a file's response."""
        response = super().file_response(*args, **kwargs)
        response.headers.update(REVALIDATE)
        return response


def assets() -> StaticFiles:
    """Return the server of the page's files."""
    return _Assets(directory=ASSETS)
