"""Turn a result into a response: exact text of numbers and times, ETag, headers of the cache."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

import msgspec
from fastapi import Request
from starlette.responses import Response

from api.cache import AnswerCache, Cacheable, tag_of

JSON: Final = "application/json"


def decimal_text(value: Decimal | None) -> str | None:
    """Return a decimal with all its digits and without an exponent (pure)."""
    return None if value is None else f"{value:f}"


def utc_text(moment: datetime) -> str:
    """Return a time as ISO 8601 in UTC: `2024-03-01T00:00:00Z`, with microseconds if any (pure)."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


def encoded(document: object) -> bytes:
    """Return a document as JSON."""
    return msgspec.json.encode(document)


def page(data: list[Any], following: str | None = None) -> dict[str, Any]:
    """Return a list as the API answers it: the rows, and the cursor of the next ones."""
    return {"data": data, "next": following}


async def cached(
    request: Request, cache: AnswerCache, how: Cacheable, compute: Callable[[], Awaitable[object]]
) -> Response:
    """Return the response of a computed document, from the cache when it is there.

    Args:
        request: For `If-None-Match`.
        cache: The cache.
        how: How the answer may be reused.
        compute: Computes the document.
    """

    async def body() -> bytes:
        return encoded(await compute())

    found = await cache.get(how, body)
    headers = {**how.headers, "X-Cache": found.result, "Age": str(int(found.age_s))}
    return tagged(request, found.body, headers, found.tag)


def tagged(request: Request, body: bytes, headers: Mapping[str, str], tag: str = "") -> Response:
    """Return a response with its ETag; 304 without a body when the client has it already."""
    tag = tag or tag_of(body)
    # A browser may keep it, and asks each time whether it is still the same.
    all_headers = {"Cache-Control": "private, no-cache", "ETag": tag, **headers}
    if _is_known(request.headers.get("if-none-match", ""), tag):
        return Response(status_code=304, headers=all_headers)
    return Response(body, headers=all_headers, media_type=JSON)


def _is_known(header: str, tag: str) -> bool:
    tags = [one.strip().removeprefix("W/") for one in header.split(",")]
    return tag in tags or "*" in tags
