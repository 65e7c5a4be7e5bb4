"""Gateway handlers of multipart uploads."""

from __future__ import annotations

from aiohttp import web

from standins.lakefs import api_errors
from standins.lakefs.multipart import Upload
from standins.lakefs.object_responses import parse_range
from standins.lakefs.request_bodies import RequestBody
from standins.lakefs.s3_common import GatewayRequest, content_type, receive, timestamp, user_metadata, xml_response
from standins.lakefs.s3_objects import copy_source, create_condition, read_xml


async def _upload(call: GatewayRequest) -> Upload:
    service = call.service
    return await service.run(service.multipart.get, call.query["uploadId"], call.bucket, call.ref, call.path)


async def create(call: GatewayRequest) -> web.StreamResponse:
    """Handle POST ?uploads: start an upload."""
    kind, metadata = content_type(call.request), user_metadata(call.request)
    upload = await call.service.run(call.service.multipart.create, call.bucket, call.ref, call.path, kind, metadata)
    answer = {"Bucket": call.bucket, "Key": call.key, "UploadId": upload.id}
    return xml_response("InitiateMultipartUploadResult", answer)


def _number(call: GatewayRequest) -> int:
    text = call.query.get("partNumber", "")
    if not (text.isascii() and text.isdigit()):
        raise api_errors.bad_request("Part number must be an integer between 1 and 10000", "InvalidArgument")
    return int(text)


async def put_part(call: GatewayRequest) -> web.StreamResponse:
    """Handle PUT ?partNumber&uploadId: store a part, from the body or by copy."""
    service, number, upload = call.service, _number(call), await _upload(call)
    is_copy = "x-amz-copy-source" in call.request.headers
    body = await _copied(call) if is_copy else await receive(call)
    try:
        part = await service.run(service.multipart.add, upload, number, body)
    finally:
        body.discard()
    if is_copy:
        return xml_response("CopyPartResult", {"LastModified": timestamp(part.created), "ETag": f'"{part.md5}"'})
    return web.Response(headers={"ETag": f'"{part.md5}"'})


async def _copied(call: GatewayRequest) -> RequestBody:
    service = call.service
    entry = await service.run(service.objects.get, *copy_source(call))
    chosen = parse_range(call.request.headers.get("x-amz-copy-source-range"), entry.size)
    start, length = chosen or (0, entry.size)
    body = RequestBody(service.core.blocks)

    def fill() -> None:
        with service.core.blocks.open(entry.address, start) as source:
            body.copy(source, length)

    try:
        await service.run(fill)
    except BaseException:
        body.discard()
        raise
    return body


async def complete(call: GatewayRequest) -> web.StreamResponse:
    """Handle POST ?uploadId: complete the upload."""
    service, upload = call.service, await _upload(call)
    root = await read_xml(call)
    wanted = []
    for element in root.iter("Part"):
        text = element.findtext("PartNumber") or ""
        if not (text.isascii() and text.isdigit()):
            raise api_errors.bad_request("A part lacks its number.", "MalformedXML")
        wanted.append((int(text), (element.findtext("ETag") or "").strip('"')))
    entry = await service.run(service.multipart.complete, upload, wanted, create_condition(call.request))
    answer = {
        "Location": f"{call.request.url.origin()}/{call.bucket}/{call.key}",
        "Bucket": call.bucket,
        "Key": call.key,
        "ETag": f'"{entry.checksum}"',
    }
    return xml_response("CompleteMultipartUploadResult", answer)


async def abort(call: GatewayRequest) -> web.StreamResponse:
    """Handle DELETE ?uploadId: abort the upload."""
    await call.service.run(call.service.multipart.abort, await _upload(call))
    return web.Response(status=204)


async def list_parts(call: GatewayRequest) -> web.StreamResponse:
    """Handle GET ?uploadId: list all parts at once; there are at most 10,000."""
    upload = await _upload(call)
    parts = await call.service.run(call.service.multipart.parts, upload)
    rows = [
        {"PartNumber": p.number, "LastModified": timestamp(p.created), "ETag": f'"{p.md5}"', "Size": p.size}
        for p in parts.values()
    ]
    head = {"Bucket": call.bucket, "Key": call.key, "UploadId": upload.id, "IsTruncated": False}
    return xml_response("ListPartsResult", {**head, "Part": rows})


async def list_uploads(call: GatewayRequest) -> web.StreamResponse:
    """Handle GET ?uploads: list the uploads in progress."""
    await call.service.run(call.service.references.repository, call.bucket)
    rows = await call.service.run(call.service.multipart.uploads, call.bucket)
    prefix = call.query.get("prefix", "")
    listed = [
        {"Key": key, "UploadId": row.id, "Initiated": timestamp(row.created)}
        for row in rows
        if (key := f"{row.branch}/{row.path}").startswith(prefix)
    ]
    return xml_response("ListMultipartUploadsResult", {"Bucket": call.bucket, "IsTruncated": False, "Upload": listed})
