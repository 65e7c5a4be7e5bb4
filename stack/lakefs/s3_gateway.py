"""The S3 gateway's front: verify the signature, tell the operation, answer errors as XML."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from aiohttp import web

from stack.lakefs import refusals, s3_lists, s3_multipart, s3_objects
from stack.lakefs.api_common import SERVICE
from stack.lakefs.s3_common import Call, decode_key
from stack.lakefs.sigv4 import Request, parse_query, verify

Handler = Callable[[Call], Awaitable[web.StreamResponse]]

# Sub-resources of S3 that mean something else than the object or bucket itself; none of ours.
UNSUPPORTED = {
    "acl", "tagging", "policy", "lifecycle", "cors", "website", "encryption", "replication", "notification", "logging",
    "torrent", "retention", "legal-hold", "object-lock", "versions", "publicAccessBlock", "ownershipControls",
    "accelerate", "requestPayment", "inventory", "metrics", "analytics", "select", "restore", "attributes",
}  # fmt: skip


async def handle(request: web.Request) -> web.StreamResponse:
    """Serve one gateway request.

    Raises:
        Refusal: Whatever is wrong with it; the middleware answers.
    """
    service = request.app[SERVICE]
    raw_path, _, raw_query = request.raw_path.partition("?")
    signed = verify(Request(request.method, raw_path, raw_query, request.headers), service.keys, datetime.now(UTC))
    query = dict(parse_query(raw_query))
    bucket, _, key = raw_path.removeprefix("/").partition("/")
    call = Call(request, service, signed, query, decode_key(bucket), decode_key(key))
    handler = _operation(call)
    if handler is None:
        raise refusals.not_implemented(f"{request.method} {sorted(query)}")
    return await handler(call)


def _operation(call: Call) -> Handler | None:
    method, query = call.request.method, call.query
    if UNSUPPORTED & query.keys():
        return None
    if not call.bucket:
        return s3_lists.buckets if method == "GET" else None
    if not call.key:
        return _bucket_operation(method, query)
    if call.path == "":
        # `branch` or `branch/` alone is no object: clients probe it as a folder.
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


async def _no_such_key(_: Call) -> web.StreamResponse:
    raise refusals.not_found("The specified key does not exist.", "NoSuchKey")


async def _nothing_to_delete(_: Call) -> web.StreamResponse:
    return web.Response(status=204)


async def _no_folder(call: Call) -> web.StreamResponse:
    # The real gateway answers InternalError, which clients retry; the refusal is the same, without the retries.
    raise refusals.bad_request(f"{call.key!r} is a branch, not an object: path: required value", "InvalidArgument")


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
