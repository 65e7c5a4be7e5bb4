"""What every gateway handler shares: the call, XML answers, error answers, keys, receiving a body."""

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

from stack.lakefs import refusals
from stack.lakefs.bodies import Body, Hash
from stack.lakefs.checksums import FACTORIES, encoded
from stack.lakefs.chunked import ChunkedReader, is_streaming
from stack.lakefs.service import Service
from stack.lakefs.sigv4 import UNSIGNED, Signed

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
META_HEADER = "X-Amz-Meta-"
CHECKSUM_HEADER = "x-amz-checksum-"
# The real gateway refuses this encoding; no client of ours sends it.
SIGNED_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
# Characters XML 1.0 cannot carry: a listing that holds them needs encoding-type=url.
NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")

# The gateway's status where it differs from the API's, and its own wording.
STATUS = {"OperationAborted": 409, "BadRequest": 400}

Node = str | int | bool | dict[str, Any] | list[Any] | None


@dataclass(frozen=True)
class Call:
    """One verified gateway request.

    `bucket` is the repository, `ref` and `path` are the two parts of the key ("" where the request has none).
    """

    request: web.Request
    service: Service
    signed: Signed
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
    """Return an XML element; a list becomes one element per item, None nothing."""
    if value is None:
        return ""
    if isinstance(value, list):
        return "".join(render(name, item) for item in value)
    if isinstance(value, dict):
        return f"<{name}>{''.join(render(key, item) for key, item in value.items())}</{name}>"
    if isinstance(value, bool):
        return f"<{name}>{str(value).lower()}</{name}>"
    return f"<{name}>{escape(str(value))}</{name}>"


def xml_answer(
    root: str, value: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    """Answer an XML document."""
    inner = "".join(render(key, item) for key, item in value.items())
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<{root} xmlns="{NAMESPACE}">{inner}</{root}>'
    return web.Response(status=status, body=text.encode(), content_type="application/xml", headers=headers)


def error_answer(request: web.Request, error: refusals.Refusal) -> web.Response:
    """Answer an S3 error; HEAD gets the status alone."""
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
    """Return a time as S3 XML carries it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def decode_key(raw: str) -> str:
    """Decode a percent-encoded key.

    Raises:
        Refusal: 400 when it is not UTF-8.
    """
    try:
        return unquote(raw, errors="strict")
    except UnicodeDecodeError as error:
        raise refusals.bad_request("The key is not UTF-8.", "InvalidURI") from error


def encode_key(key: str) -> str:
    """Encode a key for `encoding-type=url`."""
    return quote(key, safe="/-_.~!*'()")


def user_metadata(request: web.Request) -> dict[str, str]:
    """Return the `x-amz-meta-` headers, named as the real gateway stores them: prefix kept, the rest lower-case."""
    named = ((name.lower(), value) for name, value in request.headers.items())
    at = len(META_HEADER)
    return {META_HEADER + name[at:]: value for name, value in named if name.startswith(META_HEADER.lower())}


def metadata_headers(metadata: dict[str, str]) -> dict[str, str]:
    """Return the headers of an object's metadata: of what came by the gateway, each word capitalised, as Go does."""
    words = {name: name.split("-") for name in metadata if name.startswith(META_HEADER)}
    return {"-".join(part[:1].upper() + part[1:] for part in parts): metadata[name] for name, parts in words.items()}


def content_type(request: web.Request) -> str:
    """Return the media type given, or the default."""
    return request.headers.get("Content-Type") or "application/octet-stream"


async def receive(call: Call) -> Body:
    """Take in a request body and verify every digest the client sent with it.

    Raises:
        Refusal: 400 BadDigest, XAmzContentSHA256Mismatch or InvalidDigest; 403 for a wrong chunk signature.
    """
    payload = call.signed.payload
    if payload == SIGNED_TRAILER:
        raise refusals.forbidden("Access Denied.")
    source: AsyncIterator[bytes] = call.request.content.iter_any()
    reader = ChunkedReader(call.request.content, call.signed) if is_streaming(payload) else None
    if reader is not None:
        source = reader.__aiter__()
    algorithms = _announced(call.request)
    checks: dict[str, Hash] = {name: FACTORIES[name]() for name in algorithms}
    if reader is None and payload != UNSIGNED:
        checks["payload"] = FACTORIES["sha256"]()
    body = Body(call.service.core.blocks, list(checks.values()))
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
    """Return the checksum algorithms whose values come in headers or in the trailer."""
    trailer = {name.strip() for name in request.headers.get("X-Amz-Trailer", "").lower().split(",")}
    headers = {CHECKSUM_HEADER + name: name for name in FACTORIES}
    return [name for header, name in headers.items() if header in request.headers or header in trailer]


def _verify(call: Call, body: Body, checks: dict[str, Hash], trailers: dict[str, str]) -> None:
    announced = call.request.headers.get("X-Amz-Decoded-Content-Length")
    if announced is not None and announced != str(body.size):
        raise refusals.bad_request(f"Expected {announced} bytes, was {body.size}", "IncompleteBody")
    if "payload" in checks and checks["payload"].digest().hex() != call.signed.payload:
        message = "The provided 'x-amz-content-sha256' header does not match what was computed."
        raise refusals.bad_request(message, "XAmzContentSHA256Mismatch")
    expected_md5 = call.request.headers.get("Content-MD5")
    if expected_md5 is not None and _decoded(expected_md5) != body.md5:
        raise refusals.bad_request("The Content-Md5 you specified did not match what we received.", "BadDigest")
    for name, check in checks.items():
        header = CHECKSUM_HEADER + name
        expected = call.request.headers.get(header) or trailers.get(header)
        if name != "payload" and expected != encoded(check.digest()):
            raise refusals.bad_request(f"The {name} you specified did not match what we received.", "BadDigest")


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise refusals.bad_request("The Content-Md5 you specified is not valid.", "InvalidDigest") from error
