"""The entry of the S3 gateway: verify the signature and choose the handler."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from aiohttp import web

from standins.lakefs import api_errors, s3_lists, s3_multipart, s3_objects
from standins.lakefs.api_common import SERVICE
from standins.lakefs.s3_common import GatewayRequest, decode_key
from standins.lakefs.sigv4 import RawRequest, parse_query, verify

Handler = Callable[[GatewayRequest], Awaitable[web.StreamResponse]]

# Sub-resources of S3 that are not the object or the bucket itself; none is supported.
UNSUPPORTED = {
    "acl", "tagging", "policy", "lifecycle", "cors", "website", "encryption", "replication", "notification", "logging",
    "torrent", "retention", "legal-hold", "object-lock", "versions", "publicAccessBlock", "ownershipControls",
    "accelerate", "requestPayment", "inventory", "metrics", "analytics", "select", "restore", "attributes",
}  # fmt: skip


async def handle(request: web.Request) -> web.StreamResponse:
    """Serve one gateway request.

    Raises:
        Refusal: The request is wrong; the middleware makes the response.
    """
    service = request.app[SERVICE]
    raw_path, _, raw_query = request.raw_path.partition("?")
    signed = verify(RawRequest(request.method, raw_path, raw_query, request.headers), service.keys, datetime.now(UTC))
    query = dict(parse_query(raw_query))
    bucket, _, key = raw_path.removeprefix("/").partition("/")
    call = GatewayRequest(request, service, signed, query, decode_key(bucket), decode_key(key))
    handler = _operation(call)
    if handler is None:
        raise api_errors.not_implemented(f"{request.method} {sorted(query)}")
    return await handler(call)


def _operation(call: GatewayRequest) -> Handler | None:
    method, query = call.request.method, call.query
    if UNSUPPORTED & query.keys():
        return None
    if not call.bucket:
        return s3_lists.buckets if method == "GET" else None
    if not call.key:
        return _bucket_operation(method, query)
    if call.path == "":
        # `branch` or `branch/` alone is no object, but clients probe it as a folder.
        return _folder_operation(method)
    return _object_operation(method, query)


def _bucket_operation(method: str, query: dict[str, str]) -> Handler | None:
    if method == "POST" and "delete" in query:
        return s3_objects.delete_many
    if method == "HEAD":
        return s3_lists.head_bucket
    if method != "GET":
        return None
    for name, handler in (
        ("location", s3_lists.location),
        ("versioning", s3_lists.versioning),
        ("uploads", s3_multipart.list_uploads),
    ):
        if name in query:
            return handler
    return s3_lists.objects


def _folder_operation(method: str) -> Handler | None:
    return {"GET": _no_such_key, "HEAD": _no_such_key, "DELETE": _nothing_to_delete, "PUT": _no_folder}.get(method)


async def _no_such_key(_: GatewayRequest) -> web.StreamResponse:
    raise api_errors.not_found("The specified key does not exist.", "NoSuchKey")


async def _nothing_to_delete(_: GatewayRequest) -> web.StreamResponse:
    return web.Response(status=204)


async def _no_folder(call: GatewayRequest) -> web.StreamResponse:
    # The real gateway returns InternalError, which clients retry. This error has the same effect
    # without the retries.
    raise api_errors.bad_request(f"{call.key!r} is a branch, not an object: path: required value", "InvalidArgument")


def _object_operation(method: str, query: dict[str, str]) -> Handler | None:
    upload = "uploadId" in query
    table: dict[tuple[str, bool], Handler] = {
        ("GET", True): s3_multipart.list_parts,
        ("GET", False): s3_objects.read,
        ("HEAD", False): s3_objects.read,
        ("PUT", True): s3_multipart.put_part,
        ("PUT", False): s3_objects.put,
        ("POST", True): s3_multipart.complete,
        ("DELETE", True): s3_multipart.abort,
        ("DELETE", False): s3_objects.delete,
    }
    if method == "POST" and "uploads" in query:
        return s3_multipart.create
    return table.get((method, upload))
