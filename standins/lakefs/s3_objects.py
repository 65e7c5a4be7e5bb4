"""Gateway handlers of objects: get, head, put, copy, delete, delete many."""

from __future__ import annotations

from xml.etree import ElementTree

from aiohttp import web

from standins.lakefs import api_errors
from standins.lakefs.api_objects import copy_entry, store
from standins.lakefs.entries import Entry
from standins.lakefs.object_responses import etag, send_object, write_condition
from standins.lakefs.objects import Condition
from standins.lakefs.s3_common import (
    GatewayRequest,
    content_type,
    decode_key,
    metadata_headers,
    receive,
    timestamp,
    user_metadata,
    xml_response,
)

MAX_DELETE = 1000
MAX_XML_BYTES = 4 << 20


async def read(call: GatewayRequest) -> web.StreamResponse:
    """Handle GET and HEAD of an object."""
    service = call.service
    try:
        entry = await service.run(service.objects.get, call.bucket, call.ref, call.path)
    except api_errors.Refusal as error:
        # On reads a missing reference looks like a missing key, as in the real gateway.
        if error.status == 404:
            raise api_errors.not_found("The specified key does not exist.", "NoSuchKey") from error
        raise
    return await send_object(call.request, service, entry, metadata_headers(entry.metadata))


async def put(call: GatewayRequest) -> web.StreamResponse:
    """Handle PUT of an object, from the body or by copy."""
    service, request = call.service, call.request
    await service.run(service.objects.check_writable, call.bucket, call.ref)
    if "x-amz-copy-source" in request.headers:
        return await _copy(call)
    condition = create_condition(request)
    if condition:
        condition(await service.run(service.objects.find, call.bucket, call.ref, call.path))
    body = await receive(call)
    try:
        draft = Entry("", 0, "", service.core.now(), content_type(request), user_metadata(request))
        target = (call.bucket, call.ref, call.path)
        stored = await service.run(store, service, target, body, draft, condition)
    finally:
        body.discard()
    return web.Response(headers={"ETag": etag(stored)})


def create_condition(request: web.Request) -> Condition | None:
    """Return the condition of `If-None-Match: *`, the only one that the real gateway supports.

    Raises:
        Refusal: 501 for any other condition.
    """
    if "If-Match" in request.headers or request.headers.get("If-None-Match", "*").strip() != "*":
        message = "A header you provided implies functionality that is not implemented"
        raise api_errors.Refusal(501, message, "NotImplemented")
    return write_condition(request)


def copy_source(call: GatewayRequest) -> tuple[str, str, str]:
    """Return (repository, ref, path) of `x-amz-copy-source`.

    Raises:
        Refusal: 400 when it is malformed.
    """
    raw = call.request.headers["x-amz-copy-source"].partition("?versionId=")[0]
    parts = decode_key(raw).lstrip("/").split("/", 2)
    if len(parts) != 3 or not parts[2]:
        message = "Copy Source must mention the source bucket and key: sourcebucket/sourcekey."
        raise api_errors.bad_request(message, "InvalidArgument")
    return parts[0], parts[1], parts[2]


async def _copy(call: GatewayRequest) -> web.StreamResponse:
    service, source = call.service, copy_source(call)
    replaces = call.request.headers.get("x-amz-metadata-directive", "COPY").upper() == "REPLACE"
    source_entry = await service.run(service.objects.find, *source)
    if source_entry is None:
        raise api_errors.not_found("The specified key does not exist.", "NoSuchKey")
    target = (call.bucket, call.ref, call.path)
    metadata = user_metadata(call.request) if replaces else None
    entry = await service.run(copy_entry, service, source, target, metadata)
    return xml_response("CopyObjectResult", {"LastModified": timestamp(entry.mtime), "ETag": etag(entry)})


async def delete(call: GatewayRequest) -> web.StreamResponse:
    """Handle DELETE of an object; a missing one is no error."""
    await call.service.run(call.service.objects.delete, call.bucket, call.ref, [call.path])
    return web.Response(status=204)


async def read_xml(call: GatewayRequest) -> ElementTree.Element:
    """Return the XML document of a request, without namespaces.

    Raises:
        Refusal: 400 MalformedXML, also for a document type (entities are never expanded).
    """
    body = await receive(call)
    try:
        if body.size > MAX_XML_BYTES:
            raise api_errors.bad_request("The XML you provided is too large.", "MalformedXML")
        text = await call.service.run(body.content)
    finally:
        body.discard()
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
        raise api_errors.bad_request("The XML you provided holds a document type.", "MalformedXML")
    try:
        root = ElementTree.fromstring(text)  # noqa: S314  # no document type, so no entities
    except ElementTree.ParseError as error:
        raise api_errors.bad_request("The XML you provided was not well-formed.", "MalformedXML") from error
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root


async def delete_many(call: GatewayRequest) -> web.StreamResponse:
    """Handle POST ?delete: one transaction per reference; missing keys count as deleted."""
    root = await read_xml(call)
    keys = [element.findtext("Key") or "" for element in root.iter("Object")]
    if not 1 <= len(keys) <= MAX_DELETE:
        raise api_errors.bad_request(f"Expected 1 to {MAX_DELETE} keys, was {len(keys)}", "MalformedXML")
    by_ref: dict[str, list[str]] = {}
    for key in keys:
        by_ref.setdefault(key.partition("/")[0], []).append(key)
    deleted, errors = [], []
    for ref, names in by_ref.items():
        paths = [path for name in names if (path := name.partition("/")[2])]
        try:
            await call.service.run(call.service.objects.delete, call.bucket, ref, paths)
            deleted += [{"Key": name} for name in names]
        except api_errors.Refusal as error:
            errors += [{"Code": error.code, "Key": name, "Message": error.message} for name in names]
    quiet = (root.findtext("Quiet") or "").lower() == "true"
    return xml_response("DeleteResult", {"Deleted": [] if quiet else deleted, "Error": errors})
