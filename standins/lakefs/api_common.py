"""Helpers of the API handlers: authentication, JSON bodies, pages, error responses."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from aiohttp import web

from standins.lakefs import api_errors
from standins.lakefs.model import Commit
from standins.lakefs.service import KeyPair, LakeFsStandIn

T = TypeVar("T")

API = "/api/v1"
SERVICE = web.AppKey("service", LakeFsStandIn)
DEFAULT_AMOUNT = 100
MAX_AMOUNT = 1000
TOKEN_LIFE_S = 3600

Json = dict[str, Any]


def error_response(status: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    """Return an error response of the API."""
    return web.json_response({"message": message}, status=status, headers=headers)


def authenticate(request: web.Request, keys: KeyPair) -> None:
    """Check Basic credentials or a token from `/auth/login`.

    Raises:
        Refusal: 401 when neither is valid.
    """
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "basic" and _is_pair(value, keys):
        return
    if scheme.lower() == "bearer" and is_token(value.strip(), keys):
        return
    raise api_errors.unauthorized()


def _is_pair(encoded: str, keys: KeyPair) -> bool:
    try:
        given = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return False
    return hmac.compare_digest(given, f"{keys.access_key_id}:{keys.secret_access_key}".encode())


def make_token(keys: KeyPair, expires: int) -> str:
    """Return a token that is valid until `expires` (seconds since the epoch)."""
    mac = hmac.new(keys.secret_access_key.encode(), f"{keys.access_key_id}:{expires}".encode(), hashlib.sha256)
    return f"{expires}.{mac.hexdigest()}"


def is_token(token: str, keys: KeyPair) -> bool:
    """Return whether this server made the token and it has not expired."""
    head = token.partition(".")[0]
    if not (head.isascii() and head.isdigit()) or int(head) < time.time():
        return False
    return hmac.compare_digest(token, make_token(keys, int(head)))


async def read_json(request: web.Request, required: Iterable[str] = ()) -> Json:
    """Return the JSON object of the request body; an empty body gives an empty object.

    Raises:
        Refusal: 400 when it is not JSON, not an object or lacks a field.
    """
    data = await request.read()
    try:
        body = json.loads(data) if data else {}
    except ValueError as error:
        raise api_errors.bad_request(f"invalid JSON: {error}") from error
    if not isinstance(body, dict):
        raise api_errors.bad_request("expected a JSON object")
    for name in required:
        if body.get(name) is None:
            raise api_errors.bad_request(f"request body has an error: property {name!r} is missing")
    return body


def text_map(value: object) -> dict[str, str]:
    """Return a metadata object as a dict of strings.

    Raises:
        Refusal: 400 when a value is not a string.
    """
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise api_errors.bad_request("expected an object of strings as metadata")
    return dict(value)


def query_flag(request: web.Request, name: str, *, default: bool = False) -> bool:
    """Return a boolean query parameter."""
    value = request.query.get(name)
    return default if value is None else value.lower() in ("true", "1")


def query_amount(request: web.Request) -> int:
    """Return the page size: 1 to 1,000; -1 and 0 mean the default, as in the real server.

    Raises:
        Refusal: 400 when it is not a number.
    """
    text = request.query.get("amount", "")
    try:
        amount = int(text or DEFAULT_AMOUNT)
    except ValueError as error:
        raise api_errors.bad_request(f"invalid amount {text!r}") from error
    return min(amount if amount > 0 else DEFAULT_AMOUNT, MAX_AMOUNT)


def pagination(count: int, next_offset: str, *, has_more: bool, amount: int = MAX_AMOUNT) -> Json:
    """Return the pagination object of a page."""
    return {
        "has_more": has_more,
        "next_offset": next_offset if has_more else "",
        "results": count,
        "max_per_page": max(amount, MAX_AMOUNT),
    }


def page(
    request: web.Request, rows: Sequence[T], name: Callable[[T], str], render: Callable[[T], Json]
) -> web.Response:
    """Respond with one page of rows sorted by name, selected by `prefix`, `after` and `amount`."""
    prefix, after, amount = request.query.get("prefix", ""), request.query.get("after", ""), query_amount(request)
    matching = [row for row in rows if name(row).startswith(prefix) and name(row) > after]
    chosen = matching[:amount]
    last = name(chosen[-1]) if chosen else ""
    return web.json_response(
        {
            "pagination": pagination(len(chosen), last, has_more=len(matching) > amount),
            "results": [render(row) for row in chosen],
        }
    )


def commit_json(commit: Commit) -> Json:
    """Return a commit as the API shows it."""
    return {
        "id": commit.id,
        "parents": list(commit.parents),
        "committer": commit.committer,
        "message": commit.message,
        "creation_date": commit.created,
        "meta_range_id": commit.tree.hex(),
        "metadata": commit.metadata,
        "generation": commit.generation,
        "version": 1,
    }
