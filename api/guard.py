"""What every request passes first: its host, its origin, its size, its caller, the caller's rate.

The `Host` header must name this server, and a request that a page of another origin makes is
refused (common/web_origin.py says why).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.metrics import ApiMetrics
from api.principals import KEY_HEADER, Principal, Principals
from api.problems import ApiProblem
from api.rate_limits import RateLimits, retry_after
from common.settings import Settings
from common.web_origin import host_name, is_foreign

LOCAL_HOSTS: Final = ("127.0.0.1", "localhost", "::1")
MOST_QUERY_BYTES: Final = 8192
MOST_BODY_BYTES: Final = 65_536
CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS: Final = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_RAW_HEADERS = [(name.lower().encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]
_KEY = KEY_HEADER.lower()
# A request that reads the lake or Kafka costs as much as these many others.
COSTS: Final = {"/v1/events/": 50.0, "/v1/graph/": 20.0, "/v1/lake/": 10.0, "/commits/": 10.0, "/v1/ops/boards/": 10.0}


class Guard:
    """ASGI middleware; puts the caller into `scope["state"]["principal"]`."""

    def __init__(self, app: ASGIApp, settings: Settings, principals: Principals, metrics: ApiMetrics) -> None:
        extra = (name.strip().lower() for name in settings.api_hosts.split(","))
        self._app = app
        self._hosts = frozenset((*LOCAL_HOSTS, *filter(None, extra)))
        self._principals = principals
        self._limits = RateLimits(settings.api_requests_per_s)
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check one request, then hand it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), [500]

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                status[0] = message["status"]
                message["headers"] = [*message.get("headers", ()), *_RAW_HEADERS]
            await send(message)

        try:
            self._check(scope)
        except ApiProblem as problem:
            await problem.response()(scope, receive, send_with_headers)
        else:
            await self._app(scope, _bounded(receive), send_with_headers)
        finally:
            self._metrics.request(scope, status[0], time.perf_counter() - began)

    def _check(self, scope: Scope) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get("host", "")
        _check_host(host, self._hosts)
        _check_origin(headers, host)
        _check_size(scope, headers)
        principal = self._caller(headers, _port_of(host))
        name = principal.name if principal else f"address {(scope.get('client') or ('',))[0]}"
        cost = next((cost for prefix, cost in COSTS.items() if scope["path"].startswith(prefix)), 1.0)
        if wait_s := self._limits.take(name, time.monotonic(), cost):
            raise ApiProblem(
                429,
                "too-many-requests",
                f"The {name.partition(' ')[2] and name} made too many requests.",
                "the same request later, or raise API_REQUESTS_PER_S",
                {"Retry-After": retry_after(wait_s)},
            )
        scope.setdefault("state", {})["principal"] = principal

    def _caller(self, headers: Mapping[str, str], port: int) -> Principal | None:
        key = headers.get(_KEY)
        if key is not None:
            principal = self._principals.of_key(key.encode("latin-1"))
            if principal is None:
                raise ApiProblem(401, "no-key", "The API key is not known.", "tickhouse config show names its file")
            return principal
        cookie = headers.get("cookie")
        return self._principals.of_cookie(cookie, port) if cookie else None


def _check_host(host: str, allowed: frozenset[str]) -> None:
    if host_name(host) not in allowed:
        raise ApiProblem(
            421, "wrong-host", "The Host header does not name this server.", "API_HOSTS=<name> allows a name"
        )


def _check_origin(headers: Mapping[str, str], host: str) -> None:
    if is_foreign(headers, host):
        raise ApiProblem(403, "cross-site", "Another site made this request.", "open the page of this server")


def _check_size(scope: Scope, headers: Mapping[str, str]) -> None:
    if len(scope["query_string"]) > MOST_QUERY_BYTES:
        raise ApiProblem(
            414, "too-large", f"The query is longer than {MOST_QUERY_BYTES} bytes.", "ask for less at once"
        )
    length = headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > MOST_BODY_BYTES:
        raise ApiProblem(
            413, "too-large", f"The body is larger than {MOST_BODY_BYTES} bytes.", "send a smaller document"
        )


def _bounded(receive: Receive) -> Receive:
    """Refuse a body that is longer than it may be, also when it has no `Content-Length`."""
    received = 0

    async def bounded() -> Message:
        nonlocal received
        message: Message = await receive()
        received += len(message.get("body", b""))
        if received > MOST_BODY_BYTES:
            raise ApiProblem(413, "too-large", f"The body is larger than {MOST_BODY_BYTES} bytes.", "send less")
        return message

    return bounded


def _port_of(host: str) -> int:
    try:
        return urlsplit(f"//{host}").port or 80
    except ValueError:
        return 80


def principal_of(scope: Mapping[str, Any]) -> Principal | None:
    """Return who makes a request; None without a key and a session."""
    found: Principal | None = scope["state"].get("principal")
    return found
