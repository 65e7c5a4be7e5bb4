"""Errors as `application/problem+json` (RFC 9457): what happened, and what to do next."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, cast

import msgspec
import psycopg
import psycopg_pool
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from common.errors import ConfigurationError, TickhouseError, TransientError, UnknownName

MEDIA_TYPE = "application/problem+json"
RETRY_S = 2
# Title of each kind of problem; `type` is the kind as a URN.
TITLES = {
    "invalid-parameter": "A parameter is not valid",
    "unknown-name": "There is no such market, symbol, reference or id",
    "no-key": "This needs an API key",
    "wrong-scope": "The API key does not allow this",
    "wrong-host": "The Host header does not name this server",
    "cross-site": "Requests from other sites are refused",
    "too-large": "The request is too large",
    "too-many-requests": "Too many requests",
    "not-found": "There is no such address",
    "method-not-allowed": "The address does not take this method",
    "store-down": "A store does not answer",
    "store-off": "A store is not enabled",
    "too-slow": "The answer took too long",
    "busy": "Too many slow requests at the same time",
    "refused": "The request was refused",
    "internal": "The server failed",
}
log = structlog.get_logger("api.problems")


class ApiProblem(HTTPException):
    """An answer that is an error.

    Args:
        status: HTTP status.
        kind: Key of `TITLES`.
        detail: What happened, in one sentence.
        next_step: What the reader can do.
        headers: Further headers.
    """

    def __init__(
        self, status: int, kind: str, detail: str, next_step: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, detail, dict(headers or {}))
        self.kind = kind
        self.next_step = next_step

    def document(self) -> dict[str, Any]:
        """Return the members of the JSON document."""
        return {
            "type": f"urn:tickhouse:problem:{self.kind}",
            "title": TITLES[self.kind],
            "status": self.status_code,
            "detail": self.detail,
            "next": self.next_step,
        }

    def response(self) -> Response:
        """Return the HTTP response."""
        headers = {"Cache-Control": "no-store", **(self.headers or {})}
        return Response(msgspec.json.encode(self.document()), self.status_code, headers, MEDIA_TYPE)


def store_down(detail: str, next_step: str = "tickhouse status") -> ApiProblem:
    """Return the problem of a store that does not answer; the same request may succeed later."""
    return ApiProblem(503, "store-down", detail, next_step, {"Retry-After": str(RETRY_S)})


def problem_of(error: TickhouseError) -> ApiProblem:
    """Return the problem of one of our errors (pure)."""
    if isinstance(error, UnknownName):
        return ApiProblem(404, "unknown-name", error.message, error.next_command)
    if isinstance(error, ConfigurationError):
        return ApiProblem(400, "invalid-parameter", error.message, error.next_command)
    if isinstance(error, TransientError):
        return store_down(error.message, error.next_command or "tickhouse status")
    return ApiProblem(409, "refused", error.message, error.next_command)


def invalid_parameters(error: RequestValidationError) -> ApiProblem:
    """Return the problem of parameters that do not have their type (pure)."""
    # A text that is not valid Unicode cannot be shown, so values are left out.
    details = [f"{_name_of(one['loc'])}: {one['msg']}" for one in error.errors()]
    shown = "; ".join(details[:5]).encode("utf-8", "backslashreplace").decode()
    return ApiProblem(422, "invalid-parameter", shown, "GET /openapi.json describes every parameter")


def _name_of(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location[1:]) or str(location[0])


def install(app: FastAPI) -> None:
    """Make every error of the application a problem document."""
    app.add_exception_handler(ApiProblem, _on_problem)
    app.add_exception_handler(TickhouseError, _on_tickhouse_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(psycopg.Error, _on_database)
    app.add_exception_handler(psycopg_pool.PoolTimeout, _on_database)
    app.add_exception_handler(asyncio.TimeoutError, _on_timeout)
    app.add_exception_handler(Exception, _on_bug)


async def _on_problem(request: Request, error: Exception) -> Response:
    return _answered(request, cast("ApiProblem", error))


async def _on_tickhouse_error(request: Request, error: Exception) -> Response:
    return _answered(request, problem_of(cast("TickhouseError", error)))


def _answered(request: Request, problem: ApiProblem) -> Response:
    if problem.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _log_failure(request, problem.status_code, str(problem.detail))
    return problem.response()


def _log_failure(request: Request, status: int, error: str) -> None:
    """Write the line of a request that failed because of a store; the runbook looks for it."""
    log.warning(f"answered {status}", path=request.url.path, error=error)


async def _on_invalid(_: Request, error: Exception) -> Response:
    return invalid_parameters(cast("RequestValidationError", error)).response()


async def _on_http(request: Request, error: Exception) -> Response:
    http = cast("HTTPException", error)
    headers = dict(http.headers or {})
    if http.status_code == 405:  # Starlette names the methods of the first route of the address only
        headers["Allow"] = ", ".join(_methods_of(request))
    kind = {404: "not-found", 405: "method-not-allowed"}.get(http.status_code, "refused")
    phrase = HTTPStatus(http.status_code).phrase
    return ApiProblem(http.status_code, kind, f"{phrase}.", "GET /openapi.json", headers).response()


def _methods_of(request: Request) -> list[str]:
    routes = (route for route in request.app.routes if isinstance(route, Route))
    matching = (route for route in routes if route.path_regex.match(request.url.path))
    return sorted({method for route in matching for method in route.methods or ()})


async def _on_database(request: Request, error: Exception) -> Response:
    _log_failure(request, HTTPStatus.SERVICE_UNAVAILABLE, repr(error))
    if isinstance(error, psycopg.errors.QueryCanceled):
        next_step = "ask for a shorter time, or for a longer interval"
        return ApiProblem(503, "too-slow", "PostgreSQL did not answer in time.", next_step, _retry()).response()
    return store_down("PostgreSQL does not answer.", "tickhouse logs postgres").response()


async def _on_timeout(request: Request, _: Exception) -> Response:
    _log_failure(request, HTTPStatus.SERVICE_UNAVAILABLE, "a store did not answer in time")
    return ApiProblem(503, "too-slow", "A store did not answer in time.", "the same request later", _retry()).response()


def _retry() -> dict[str, str]:
    return {"Retry-After": str(RETRY_S)}


async def _on_bug(request: Request, error: Exception) -> Response:
    log.error("failed", path=request.url.path, error=repr(error), exc_info=error)
    return ApiProblem(500, "internal", "The server failed; its log has the cause.", "tickhouse logs api").response()
