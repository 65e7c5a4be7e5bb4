"""Sending objects: ranges, conditions and streamed bodies, the same for the API and the S3 gateway."""

from __future__ import annotations

import email.utils
import re

from aiohttp import web

from stack.lakefs import refusals
from stack.lakefs.blocks import CHUNK_BYTES
from stack.lakefs.entries import Entry
from stack.lakefs.objects import Condition
from stack.lakefs.service import Service

RANGE = re.compile(r"bytes=\s*(\d*)\s*-\s*(\d*)\s*\Z", re.ASCII)


def parse_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Return (start, length) of a Range header; None for the whole object (no header, or one that is malformed).

    Raises:
        Refusal: 416 when the range starts beyond the object or asks for its last bytes and there are none.
    """
    match = RANGE.match(header) if header else None
    if not match or not (match[1] or match[2]):
        return None
    if not match[1]:
        length = min(int(match[2]), size)
        if length == 0:
            raise refusals.invalid_range(size)
        return size - length, length
    start = int(match[1])
    end = int(match[2]) if match[2] else max(size - 1, start)
    if end < start:
        return None
    if start >= size:
        raise refusals.invalid_range(size)
    return start, min(end, size - 1) - start + 1


def etag(entry: Entry) -> str:
    """Return the quoted ETag."""
    return f'"{entry.checksum}"'


def _names(header: str, entry: Entry) -> bool:
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
        raise refusals.not_implemented("If-None-Match with an ETag on a write")

    def check(current: Entry | None) -> None:
        if absent is not None and current is not None:
            raise refusals.precondition_failed()
        if match is not None and (current is None or not _names(match, current)):
            raise refusals.precondition_failed("Precondition failed")

    return check


def read_condition_status(request: web.Request, entry: Entry) -> int:
    """Return 200, or 304 when the client has this version.

    Raises:
        Refusal: 412 when `If-Match` names another version.
    """
    match, none_match = request.headers.get("If-Match"), request.headers.get("If-None-Match")
    if match is not None and not _names(match, entry):
        raise refusals.precondition_failed("Precondition failed")
    if none_match is not None and _names(none_match, entry):
        return 304
    return 200


async def send_object(
    request: web.Request, service: Service, entry: Entry, extra: dict[str, str], status: int = 200
) -> web.StreamResponse:
    """Answer GET or HEAD of an object; with status 304 its headers alone.

    Raises:
        Refusal: 416.
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


def _read(service: Service, entry: Entry, start: int, length: int) -> bytes:
    """Return a small stretch of a block.

    Raises:
        OSError: The block is shorter than its entry says.
    """
    if not length:
        return b""
    with service.core.blocks.open(entry.address, start) as source:
        data = b""
        while len(data) < length:
            chunk = source.read(length - len(data))
            if not chunk:
                raise OSError(f"Expected {length} bytes at {start} of {entry.address}, was {len(data)}")
            data += chunk
    return data


async def _stream(response: web.StreamResponse, service: Service, entry: Entry, start: int, length: int) -> None:
    source = await service.run(service.core.blocks.open, entry.address, start)
    try:
        while length:
            data = await service.run(source.read, min(length, CHUNK_BYTES))
            if not data:
                raise OSError(f"Expected {length} more bytes of {entry.address}, was the end")
            await response.write(data)
            length -= len(data)
    finally:
        source.close()
