"""API handlers of objects: upload, read, stat, list, delete, copy."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

from aiohttp import BodyPartReader, web

from standins.lakefs import api_errors
from standins.lakefs.api_common import SERVICE, Json, pagination, query_amount, query_flag, read_json, text_map
from standins.lakefs.entries import Entry
from standins.lakefs.object_responses import read_condition_status, send_object, write_condition
from standins.lakefs.objects import Condition, ListingRow
from standins.lakefs.request_bodies import RequestBody
from standins.lakefs.service import LakeFsStandIn

META_HEADER = "x-lakefs-meta-"
MAX_DELETE = 1000
DEFAULT_TYPE = "application/octet-stream"


def stats_json(path: str, entry: Entry, *, with_metadata: bool = True) -> Json:
    """Return an object as the API shows it."""
    stats: Json = {
        "path": path,
        "path_type": "object",
        "physical_address": entry.address,
        "checksum": entry.checksum,
        "size_bytes": entry.size,
        "mtime": entry.mtime,
        "content_type": entry.content_type,
    }
    if with_metadata:
        stats["metadata"] = entry.metadata
    return stats


def listed_json(row: ListingRow, *, with_metadata: bool) -> Json:
    """Return one listing row: an object or a common prefix."""
    if row.entry:
        return stats_json(row.path, row.entry, with_metadata=with_metadata)
    return {"path": row.path, "path_type": "common_prefix", "physical_address": "", "checksum": "", "mtime": 0}


def path_of(request: web.Request) -> str:
    """Return the `path` parameter.

    Raises:
        Refusal: 400 when it is missing.
    """
    path = request.query.get("path", "")
    if not path:
        raise api_errors.bad_request("argument path: required value: validation error")
    return path


def store(
    service: LakeFsStandIn, target: tuple[str, str, str], body: RequestBody, entry: Entry, condition: Condition | None
) -> Entry:
    """Store a body as a block and stage its entry under (repository, branch, path); blocking.

    When staging is refused, the block is deleted again.
    """
    namespace = service.objects.check_writable(*target[:2]).namespace
    address = body.keep(namespace)
    stored = replace(entry, address=address, size=body.size, checksum=body.md5.hex())
    try:
        service.objects.put(*target, stored, condition)
    except api_errors.Refusal:
        service.core.blocks.drop(address)
        raise
    return stored


async def _content(request: web.Request) -> tuple[AsyncIterator[bytes], str]:
    """Return the body's chunks and media type: raw, or the `content` part of a form."""
    if not request.content_type.startswith("multipart/form-data"):
        return request.content.iter_any(), request.headers.get("Content-Type", DEFAULT_TYPE)
    async for part in await request.multipart():
        if isinstance(part, BodyPartReader) and part.name == "content":
            return _part_chunks(part), part.headers.get("Content-Type", DEFAULT_TYPE)
    raise api_errors.bad_request("multipart upload missing key 'content'")


async def _part_chunks(part: BodyPartReader) -> AsyncIterator[bytes]:
    while chunk := await part.read_chunk(1 << 16):
        yield chunk


async def upload(request: web.Request) -> web.Response:
    """Store an object.

    With `If-None-Match: *` only if the path does not exist, checked atomically.
    """
    service, info, path = request.app[SERVICE], request.match_info, path_of(request)
    condition = write_condition(request)
    await service.run(service.objects.check_writable, info["repository"], info["branch"])
    if condition and request.headers.get("If-None-Match"):
        condition(await service.run(service.objects.find, info["repository"], info["branch"], path))
    chunks, content_type = await _content(request)
    metadata = {
        name.lower().removeprefix(META_HEADER): value
        for name, value in request.headers.items()
        if name.lower().startswith(META_HEADER)
    }
    body = RequestBody(service.core.blocks)
    try:
        await body.receive(chunks, service.data_pool)
        draft = Entry("", 0, "", service.core.now(), content_type, metadata)
        target = (info["repository"], info["branch"], path)
        stored = await service.run(store, service, target, body, draft, condition)
    finally:
        body.discard()
    return web.json_response(stats_json(path, stored), status=201)


async def read(request: web.Request) -> web.StreamResponse:
    """Return an object's bytes (GET) or headers (HEAD)."""
    service, info = request.app[SERVICE], request.match_info
    entry = await service.run(service.objects.get, info["repository"], info["ref"], path_of(request))
    # The API supports conditional reads; the gateway does not.
    status = read_condition_status(request, entry)
    return await send_object(request, service, entry, {"X-Content-Type-Options": "nosniff"}, status)


async def stat(request: web.Request) -> web.Response:
    """Return what is known about an object."""
    service, info, path = request.app[SERVICE], request.match_info, path_of(request)
    entry = await service.run(service.objects.get, info["repository"], info["ref"], path)
    with_metadata = query_flag(request, "user_metadata", default=True)
    return web.json_response(stats_json(path, entry, with_metadata=with_metadata))


async def underlying(request: web.Request) -> web.Response:
    """Return no storage class: blocks here have none."""
    service, info = request.app[SERVICE], request.match_info
    await service.run(service.objects.get, info["repository"], info["ref"], path_of(request))
    return web.json_response({"storage_class": None})


async def listing(request: web.Request) -> web.Response:
    """Return a page of objects and common prefixes."""
    service, info, query = request.app[SERVICE], request.match_info, request.query
    rows, has_more = await service.run(
        service.objects.listing,
        info["repository"],
        info["ref"],
        prefix=query.get("prefix", ""),
        after=query.get("after", ""),
        delimiter=query.get("delimiter", ""),
        amount=query_amount(request),
    )
    with_metadata = query_flag(request, "user_metadata", default=True)
    results = [listed_json(row, with_metadata=with_metadata) for row in rows]
    last = rows[-1].path if rows else ""
    return web.json_response({"pagination": pagination(len(rows), last, has_more=has_more), "results": results})


async def delete(request: web.Request) -> web.Response:
    """Delete one object; a missing one is no error."""
    service, info = request.app[SERVICE], request.match_info
    await service.run(service.objects.delete, info["repository"], info["branch"], [path_of(request)])
    return web.Response(status=204)


async def delete_many(request: web.Request) -> web.Response:
    """Delete up to 1,000 objects in one transaction; errors are listed per path."""
    service, info = request.app[SERVICE], request.match_info
    paths = (await read_json(request, ("paths",)))["paths"]
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        raise api_errors.bad_request("expected a list of paths")
    if len(paths) > MAX_DELETE:
        raise api_errors.bad_request(f"request size exceeded, max paths is set to {MAX_DELETE}")
    errors: list[Json] = []
    try:
        await service.run(service.objects.delete, info["repository"], info["branch"], [p for p in paths if p])
    except api_errors.Refusal as error:
        if error.status != 403:
            raise
        errors = [{"path": path, "status_code": 403, "message": error.message} for path in paths]
    return web.json_response({"errors": errors})


def copy_entry(
    service: LakeFsStandIn, source: tuple[str, str, str], target: tuple[str, str, str], metadata: dict[str, str] | None
) -> Entry:
    """Stage an entry under another key; both share the immutable block; blocking."""
    with service.core.collection_lock.shared():
        entry = replace(service.objects.get(*source), mtime=service.core.now())
        if metadata is not None:
            entry = replace(entry, metadata=metadata)
        service.objects.put(*target, entry)
    return entry


async def copy(request: web.Request) -> web.Response:
    """Copy an object within a repository."""
    service, info = request.app[SERVICE], request.match_info
    target_path = request.query.get("dest_path", "")
    if not target_path:
        raise api_errors.bad_request("argument dest_path: required value: validation error")
    body = await read_json(request, ("src_path",))
    source = (info["repository"], str(body.get("src_ref") or info["branch"]), str(body["src_path"]))
    target = (info["repository"], info["branch"], target_path)
    await service.run(service.objects.check_writable, *target[:2])
    entry = await service.run(copy_entry, service, source, target, None)
    return web.json_response(stats_json(target_path, entry), status=201)


async def set_user_metadata(request: web.Request) -> web.Response:
    """Replace an object's user metadata."""
    service, info, path = request.app[SERVICE], request.match_info, path_of(request)
    metadata = text_map((await read_json(request, ("set",)))["set"])
    target = (info["repository"], info["branch"], path)
    await service.run(copy_entry, service, target, target, metadata)
    return web.Response(status=201)
