"""Gateway handlers of buckets and listings.

Branches appear as the top-level prefixes of a bucket.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from standins.lakefs import api_errors
from standins.lakefs.objects import ListingRow
from standins.lakefs.s3_common import NOT_XML, GatewayRequest, encode_key, timestamp, xml_response

MAX_KEYS = 1000


async def buckets(call: GatewayRequest) -> web.StreamResponse:
    """List the repositories as buckets."""
    rows = await call.service.run(call.service.references.repositories)
    listed = [{"Name": row.name, "CreationDate": timestamp(row.created)} for row in rows]
    owner = {"ID": "admin", "DisplayName": "admin"}
    return xml_response("ListAllMyBucketsResult", {"Owner": owner, "Buckets": {"Bucket": listed}})


async def head_bucket(call: GatewayRequest) -> web.StreamResponse:
    """Return 200 when a repository exists."""
    await call.service.run(call.service.references.repository, call.bucket)
    return web.Response(headers={"x-amz-bucket-region": "us-east-1"})


async def location(call: GatewayRequest) -> web.StreamResponse:
    """Return the region: the default one, which S3 writes as an empty element."""
    await call.service.run(call.service.references.repository, call.bucket)
    return xml_response("LocationConstraint", {})


async def versioning(call: GatewayRequest) -> web.StreamResponse:
    """Report that S3 versioning is off."""
    await call.service.run(call.service.references.repository, call.bucket)
    return xml_response("VersioningConfiguration", {})


def _max_keys(call: GatewayRequest) -> int:
    text = call.query.get("max-keys", "")
    if not text:
        return MAX_KEYS
    if not (text.isascii() and text.isdigit()):
        raise api_errors.bad_request("Argument maxKeys must be an integer between 0 and 2147483647", "InvalidArgument")
    return min(int(text), MAX_KEYS)


async def objects(call: GatewayRequest) -> web.StreamResponse:
    """List objects, version 1 or 2; a prefix without a slash lists branches as common prefixes."""
    kind = call.query.get("list-type", "1")
    if kind not in ("1", "2"):
        raise api_errors.bad_request(f"list-type {kind!r} is not supported")
    await call.service.run(call.service.references.repository, call.bucket)
    after = call.query.get("continuation-token") or call.query.get("start-after") or ""
    if kind == "1":
        after = call.query.get("marker", "")
    amount = _max_keys(call)
    rows, has_more = await _rows(call, after, amount) if amount else ([], False)
    own_fields = _v2(call, rows) if kind == "2" else _v1(call, rows, has_more=has_more)
    common: dict[str, Any] = {
        "Name": call.bucket,
        "Prefix": _name(call, call.query.get("prefix", "")),
        "Delimiter": _name(call, call.query["delimiter"]) if call.query.get("delimiter") else None,
        "MaxKeys": amount,
        "IsTruncated": has_more,
        "EncodingType": call.query.get("encoding-type"),
    }
    if kind == "2" and has_more:
        # Tokens are opaque to clients and are never URL-encoded.
        own_fields["NextContinuationToken"] = rows[-1].path
    return xml_response("ListBucketResult", {**common, **own_fields, **_contents(call, rows)})


async def _rows(call: GatewayRequest, after: str, amount: int) -> tuple[list[ListingRow], bool]:
    """Return the rows; their path is the whole key, `ref/path`."""
    prefix = call.query.get("prefix", "").removeprefix("/")
    ref, slash, path = prefix.partition("/")
    if not slash:
        return await _branches(call, prefix, after, amount)
    if after and after.partition("/")[0] != ref:
        raise api_errors.bad_request("invalid marker - doesnt start with branch name")
    try:
        rows, has_more = await call.service.run(
            call.service.objects.listing,
            call.bucket,
            ref,
            prefix=path,
            after=after.partition("/")[2],
            delimiter=call.query.get("delimiter", ""),
            amount=amount,
        )
    except api_errors.Refusal as error:
        if error.status != 404:
            raise
        # For a missing branch the real gateway returns an empty list in version 1 and an error in
        # version 2.
        if call.query.get("list-type") == "2":
            raise api_errors.bad_request("400 BadRequest") from error
        return [], False
    return [ListingRow(f"{ref}/{row.path}", row.entry) for row in rows], has_more


async def _branches(call: GatewayRequest, prefix: str, after: str, amount: int) -> tuple[list[ListingRow], bool]:
    names = [name for name, _ in await call.service.run(call.service.references.branches, call.bucket)]
    rows = [ListingRow(f"{name}/", None) for name in names if name.startswith(prefix) and f"{name}/" > after]
    return rows[:amount], len(rows) > amount


def _name(call: GatewayRequest, key: str) -> str:
    if call.query.get("encoding-type") == "url":
        return encode_key(key)
    if NOT_XML.search(key):
        raise api_errors.bad_request(
            "A key holds characters XML cannot carry; use encoding-type=url", "InvalidArgument"
        )
    return key


def _contents(call: GatewayRequest, rows: list[ListingRow]) -> dict[str, Any]:
    files = [
        {
            "Key": _name(call, row.path),
            "LastModified": timestamp(row.entry.mtime),
            "ETag": f'"{row.entry.checksum}"',
            "Size": row.entry.size,
            "StorageClass": "STANDARD",
        }
        for row in rows
        if row.entry
    ]
    folders = [{"Prefix": _name(call, row.path)} for row in rows if not row.entry]
    return {"Contents": files, "CommonPrefixes": folders}


def _v1(call: GatewayRequest, rows: list[ListingRow], *, has_more: bool) -> dict[str, Any]:
    # S3 sends NextMarker only with a delimiter; without one the client continues after the last
    # key.
    has_marker = has_more and bool(call.query.get("delimiter"))
    return {
        "Marker": _name(call, call.query.get("marker", "")),
        "NextMarker": _name(call, rows[-1].path) if has_marker else None,
    }


def _v2(call: GatewayRequest, rows: list[ListingRow]) -> dict[str, Any]:
    return {
        "KeyCount": len(rows),
        "ContinuationToken": call.query.get("continuation-token"),
        "StartAfter": _name(call, call.query["start-after"]) if call.query.get("start-after") else None,
    }
