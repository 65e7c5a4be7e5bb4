"""Helpers of the gateway handlers: the request, XML responses, error responses, keys, bodies."""

from __future__ import annotations

import base64
import binascii
import re
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, unquote
from xml.sax.saxutils import escape

from aiohttp import web

from standins.lakefs import api_errors
from standins.lakefs.checksums import FACTORIES, encoded
from standins.lakefs.chunked import ChunkedReader, is_streaming
from standins.lakefs.request_bodies import RequestBody, RunningDigest
from standins.lakefs.service import LakeFsStandIn
from standins.lakefs.sigv4 import UNSIGNED, VerifiedRequest

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
META_HEADER = "X-Amz-Meta-"
CHECKSUM_HEADER = "x-amz-checksum-"
# The real gateway refuses this encoding, and none of our clients uses it.
SIGNED_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
# Characters that XML 1.0 cannot contain: listing such keys needs encoding-type=url.
NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")

# Error code to the gateway's status, where it differs from the API's.
STATUS = {"OperationAborted": 409, "BadRequest": 400}

Node = str | int | bool | dict[str, Any] | list[Any] | None


@dataclass(frozen=True)
class GatewayRequest:
    """One verified gateway request.

    `bucket` is the repository; `ref` and `path` are the two parts of the key, empty where the
    request has none.
    """

    request: web.Request
    service: LakeFsStandIn
    signed: VerifiedRequest
    query: dict[str, str]
    bucket: str
    key: str

    @property
    def ref(self) -> str:
        """Return the reference: the key up to its first slash."""
        return self.key.partition("/")[0]

    @property
    def path(self) -> str:
        """Return the object's path: the key after its first slash."""
        return self.key.partition("/")[2]


def render(name: str, value: Node) -> str:
    """Return an XML element; a list becomes one element per item, None becomes nothing."""
    if value is None:
        return ""
    if isinstance(value, list):
        return "".join(render(name, item) for item in value)
    if isinstance(value, dict):
        return f"<{name}>{''.join(render(key, item) for key, item in value.items())}</{name}>"
    if isinstance(value, bool):
        return f"<{name}>{str(value).lower()}</{name}>"
    return f"<{name}>{escape(str(value))}</{name}>"


def xml_response(
    root: str, value: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    """Return a response with an XML document."""
    inner = "".join(render(key, item) for key, item in value.items())
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<{root} xmlns="{NAMESPACE}">{inner}</{root}>'
    return web.Response(status=status, body=text.encode(), content_type="application/xml", headers=headers)


def error_response(request: web.Request, error: api_errors.Refusal) -> web.Response:
    """Return an S3 error response; HEAD gets only the status."""
    status = STATUS.get(error.code, error.status)
    identity = uuid.uuid4().hex
    headers = {**error.headers, "x-amz-request-id": identity}
    if request.method == "HEAD":
        return web.Response(status=status, headers=headers)
    body = {"Code": error.code, "Message": error.message, "Resource": request.path, "RequestId": identity}
    inner = "".join(render(key, NOT_XML.sub("?", str(value))) for key, value in body.items())
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{inner}</Error>'
    return web.Response(status=status, body=text.encode(), content_type="application/xml", headers=headers)


def timestamp(seconds: int) -> str:
    """Return a time in the format of S3 XML."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def decode_key(raw: str) -> str:
    """Decode a percent-encoded key.

    Raises:
        Refusal: 400 when it is not UTF-8.
    """
    try:
        return unquote(raw, errors="strict")
    except UnicodeDecodeError as error:
        raise api_errors.bad_request("The key is not UTF-8.", "InvalidURI") from error


def encode_key(key: str) -> str:
    """Encode a key for `encoding-type=url`."""
    return quote(key, safe="/-_.~!*'()")


def user_metadata(request: web.Request) -> dict[str, str]:
    """Return the `x-amz-meta-` headers.

    As in the real gateway, the prefix stays and the rest is lower-case.
    """
    named = ((name.lower(), value) for name, value in request.headers.items())
    at = len(META_HEADER)
    return {META_HEADER + name[at:]: value for name, value in named if name.startswith(META_HEADER.lower())}


def metadata_headers(metadata: dict[str, str]) -> dict[str, str]:
    """Return the headers for metadata from the gateway, each word capitalised as Go does it."""
    words = {name: name.split("-") for name in metadata if name.startswith(META_HEADER)}
    return {"-".join(part[:1].upper() + part[1:] for part in parts): metadata[name] for name, parts in words.items()}


def content_type(request: web.Request) -> str:
    """Return the media type of the request, or the default."""
    return request.headers.get("Content-Type") or "application/octet-stream"


async def receive(call: GatewayRequest) -> RequestBody:
    """Receive a request body and verify every digest that the client sent with it.

    Raises:
        Refusal: 400 BadDigest, XAmzContentSHA256Mismatch or InvalidDigest; 403 for a wrong chunk
            signature.
    """
    payload = call.signed.payload
    if payload == SIGNED_TRAILER:
        raise api_errors.forbidden("Access Denied.")
    source: AsyncIterator[bytes] = call.request.content.iter_any()
    reader = ChunkedReader(call.request.content, call.signed) if is_streaming(payload) else None
    if reader is not None:
        source = reader.__aiter__()
    algorithms = _announced(call.request)
    checks: dict[str, RunningDigest] = {name: FACTORIES[name]() for name in algorithms}
    if reader is None and payload != UNSIGNED:
        checks["payload"] = FACTORIES["sha256"]()
    body = RequestBody(call.service.core.blocks, list(checks.values()))
    try:
        await body.receive(source, call.service.data_pool)
        if body.is_small:
            body.finish()
        else:
            await call.service.run(body.finish)
        _verify(call, body, checks, reader.trailers if reader else {})
    except BaseException:
        body.discard()
        raise
    return body


def _announced(request: web.Request) -> list[str]:
    """Return the checksum algorithms whose values are in the headers or in the trailer."""
    trailer = {name.strip() for name in request.headers.get("X-Amz-Trailer", "").lower().split(",")}
    headers = {CHECKSUM_HEADER + name: name for name in FACTORIES}
    return [name for header, name in headers.items() if header in request.headers or header in trailer]


def _verify(
    call: GatewayRequest, body: RequestBody, checks: dict[str, RunningDigest], trailers: dict[str, str]
) -> None:
    announced = call.request.headers.get("X-Amz-Decoded-Content-Length")
    if announced is not None and announced != str(body.size):
        raise api_errors.bad_request(f"Expected {announced} bytes, was {body.size}", "IncompleteBody")
    if "payload" in checks and checks["payload"].digest().hex() != call.signed.payload:
        message = "The provided 'x-amz-content-sha256' header does not match what was computed."
        raise api_errors.bad_request(message, "XAmzContentSHA256Mismatch")
    expected_md5 = call.request.headers.get("Content-MD5")
    if expected_md5 is not None and _decoded(expected_md5) != body.md5:
        raise api_errors.bad_request("The Content-Md5 you specified did not match what we received.", "BadDigest")
    for name, check in checks.items():
        header = CHECKSUM_HEADER + name
        expected = call.request.headers.get(header) or trailers.get(header)
        if name != "payload" and expected != encoded(check.digest()):
            raise api_errors.bad_request(f"The {name} you specified did not match what we received.", "BadDigest")


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise api_errors.bad_request("The Content-Md5 you specified is not valid.", "InvalidDigest") from error
