"""What the addresses share: the stores of the process, and the scopes of a request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final, cast

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyCookie, APIKeyHeader

from api.guard import principal_of
from api.lake import Lake
from api.live_hub import LiveHub
from api.metrics import ApiMetrics
from api.models import ProblemDocument
from api.principals import COOKIE_PREFIX, KEY_HEADER, READ, RULES
from api.problems import ApiProblem
from api.prometheus import PrometheusClient
from api.stores import Stores
from api.symbols import Symbols


@dataclass(frozen=True)
class Server:
    """What one process serves from."""

    stores: Stores
    symbols: Symbols
    lake: Lake
    hub: LiveHub
    metrics: ApiMetrics
    prometheus: PrometheusClient


def server_of(request: Request) -> Server:
    """Return what the process serves from."""
    return cast("Server", request.app.state.server)


async def _server(request: Request) -> Server:
    return server_of(request)


Serving = Annotated[Server, Depends(_server)]

# An answer that depends on a commit alone.
COMMIT_TTL_S: Final = 600.0
COMMIT_HEADER: Final = "X-Lake-Commit"

# These describe the two ways in OpenAPI; the guard has read and checked them before.
_key = APIKeyHeader(name=KEY_HEADER, auto_error=False, description="A key of the home's secrets.env")
_session = APIKeyCookie(name=f"{COOKIE_PREFIX}<port>", auto_error=False, description="Set by the page at /")


async def _needs_read(request: Request) -> None:
    _require(request, READ)


async def _needs_rules(request: Request) -> None:
    _require(request, RULES)


def _require(request: Request, scope: str) -> None:
    principal = principal_of(request.scope)
    if principal is None:
        raise ApiProblem(
            401,
            "no-key",
            f"This address needs the header {KEY_HEADER}, or the session that the page at / sets.",
            "use API_READ_KEY of the home's secrets.env",
            {"WWW-Authenticate": "ApiKey"},
        )
    if scope not in principal.scopes:
        raise ApiProblem(403, "wrong-scope", f"The {principal.name} has no scope {scope}.", "use API_RULES_KEY")


MAY_READ: Final = [Depends(_needs_read), Security(_key), Security(_session)]
MAY_CHANGE_RULES: Final = [Depends(_needs_rules), Security(_key)]

_DESCRIPTIONS: Final = {
    400: "A parameter is not valid",
    401: "No key, or an unknown one",
    403: "The key has not the scope, or another site made the request",
    404: "No such market, symbol, reference or id; `detail` has the nearest names",
    413: "The body is too large",
    422: "A parameter has not its type",
    429: "Too many requests; `Retry-After` says when to come again",
    503: "A store does not answer, or is not enabled",
}


def problems(*more: int) -> dict[int | str, dict[str, Any]]:
    """Return the error responses of an address for OpenAPI."""
    codes = sorted({400, 401, 403, 404, 422, 429, 503, *more})
    return {code: {"model": ProblemDocument, "description": _DESCRIPTIONS[code]} for code in codes}
