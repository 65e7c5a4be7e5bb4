"""Responses with objects: ranges, conditions, streamed bodies, for the API and the gateway."""

from __future__ import annotations

import email.utils
import re

from aiohttp import web

from standins.lakefs import api_errors
from standins.lakefs.blocks import CHUNK_BYTES
from standins.lakefs.entries import Entry
from standins.lakefs.objects import Condition
from standins.lakefs.service import LakeFsStandIn

RANGE = re.compile(r"bytes=\s*(\d*)\s*-\s*(\d*)\s*\Z", re.ASCII)


def parse_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Return (start, length) of a Range header; None (missing or malformed) means the whole object.

    Raises:
        Refusal: 416 when the range starts beyond the object, or asks for the last bytes of an empty
            one.
    """
    match = RANGE.match(header) if header else None
    if not match or not (match[1] or match[2]):
        return None
    if not match[1]:
        length = min(int(match[2]), size)
        if length == 0:
            raise api_errors.invalid_range(size)
        return size - length, length
    start = int(match[1])
    end = int(match[2]) if match[2] else max(size - 1, start)
    if end < start:
        return None
    if start >= size:
        raise api_errors.invalid_range(size)
    return start, min(end, size - 1) - start + 1


def etag(entry: Entry) -> str:
    """Return the quoted ETag."""
    return f'"{entry.checksum}"'


def _matches(header: str, entry: Entry) -> bool:
    return header.strip() == "*" or entry.checksum in {tag.strip().strip('"') for tag in header.split(",")}


def write_condition(request: web.Request) -> Condition | None:
    """Return the condition of a conditional write: `If-None-Match: *` or `If-Match: <etag>`.

    Raises:
        Refusal: 501 for `If-None-Match` with anything but `*`, as in the real server.
    """
    absent, match = request.headers.get("If-None-Match"), request.headers.get("If-Match")
    if absent is None and match is None:
        return None
    if absent is not None and absent.strip() != "*":
        raise api_errors.not_implemented("If-None-Match with an ETag on a write")

    def check(current: Entry | None) -> None:
        if absent is not None and current is not None:
            raise api_errors.precondition_failed()
        if match is not None and (current is None or not _matches(match, current)):
            raise api_errors.precondition_failed("Precondition failed")

    return check


def read_condition_status(request: web.Request, entry: Entry) -> int:
    """Return 200, or 304 when the client already has this version.

    Raises:
        Refusal: 412 when `If-Match` names another version.
    """
    match, none_match = request.headers.get("If-Match"), request.headers.get("If-None-Match")
    if match is not None and not _matches(match, entry):
        raise api_errors.precondition_failed("Precondition failed")
    if none_match is not None and _matches(none_match, entry):
        return 304
    return 200


async def send_object(
    request: web.Request, service: LakeFsStandIn, entry: Entry, extra: dict[str, str], status: int = 200
) -> web.StreamResponse:
    """Respond to GET or HEAD of an object; with status 304 only the headers are sent.

    Raises:
        Refusal: 416 for a range outside the object.
    """
    headers = {
        "ETag": etag(entry),
        "Last-Modified": email.utils.formatdate(entry.mtime, usegmt=True),
        "Accept-Ranges": "bytes",
        **extra,
    }
    if status == 304:
        return web.Response(status=304, headers=headers)
    headers["Content-Type"] = entry.content_type or "application/octet-stream"
    start, length = 0, entry.size
    chosen = parse_range(request.headers.get("Range"), entry.size)
    if chosen:
        start, length = chosen
        status = 206
        headers["Content-Range"] = f"bytes {start}-{start + length - 1}/{entry.size}"
    if request.method != "HEAD" and length <= CHUNK_BYTES:
        return web.Response(
            status=status, headers=headers, body=await service.run(_read, service, entry, start, length)
        )
    response = web.StreamResponse(status=status, headers=headers)
    response.content_length = length
    await response.prepare(request)
    if request.method != "HEAD":
        await _stream(response, service, entry, start, length)
    await response.write_eof()
    return response


def _read(service: LakeFsStandIn, entry: Entry, start: int, length: int) -> bytes:
    """Return a small part of a block.

    Raises:
        OSError: The block is shorter than the size in its entry.
    """
    if not length:
        return b""
    with service.core.blocks.open(entry.address, start) as source:
        data = b""
        while len(data) < length:
            chunk = source.read(length - len(data))
            if not chunk:
                raise OSError(f"Block {entry.address} has {len(data)} bytes at {start}, but {length} were expected")
            data += chunk
    return data


async def _stream(response: web.StreamResponse, service: LakeFsStandIn, entry: Entry, start: int, length: int) -> None:
    source = await service.run(service.core.blocks.open, entry.address, start)
    try:
        while length:
            data = await service.run(source.read, min(length, CHUNK_BYTES))
            if not data:
                raise OSError(f"Block {entry.address} ended, but {length} more bytes were expected")
            await response.write(data)
            length -= len(data)
    finally:
        source.close()
