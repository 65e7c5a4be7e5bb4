"""Gateway handlers of buckets and listings: repositories, location, objects v1 and v2, branches as top prefixes."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from stack.lakefs import refusals
from stack.lakefs.objects import Listed
from stack.lakefs.s3_common import NOT_XML, Call, encode_key, timestamp, xml_answer

MAX_KEYS = 1000


async def buckets(call: Call) -> web.StreamResponse:
    """Answer the repositories."""
    rows = await call.service.run(call.service.references.repositories)
    listed = [{"Name": row.name, "CreationDate": timestamp(row.created)} for row in rows]
    owner = {"ID": "admin", "DisplayName": "admin"}
    return xml_answer("ListAllMyBucketsResult", {"Owner": owner, "Buckets": {"Bucket": listed}})


async def head_bucket(call: Call) -> web.StreamResponse:
    """Answer whether a repository exists."""
    await call.service.run(call.service.references.repository, call.bucket)
    return web.Response(headers={"x-amz-bucket-region": "us-east-1"})


async def location(call: Call) -> web.StreamResponse:
    """Answer the region: the default one, which S3 spells as nothing."""
    await call.service.run(call.service.references.repository, call.bucket)
    return xml_answer("LocationConstraint", {})


async def versioning(call: Call) -> web.StreamResponse:
    """Answer that S3 versioning is off."""
    await call.service.run(call.service.references.repository, call.bucket)
    return xml_answer("VersioningConfiguration", {})


def _max_keys(call: Call) -> int:
    text = call.query.get("max-keys", "")
    if not text:
        return MAX_KEYS
    if not (text.isascii() and text.isdigit()):
        raise refusals.bad_request("Argument maxKeys must be an integer between 0 and 2147483647", "InvalidArgument")
    return min(int(text), MAX_KEYS)


async def objects(call: Call) -> web.StreamResponse:
    """Answer a listing, v1 or v2; without a slash in the prefix it lists branches as common prefixes."""
    kind = call.query.get("list-type", "1")
    if kind not in ("1", "2"):
        raise refusals.bad_request(f"list-type {kind!r} is not supported")
    await call.service.run(call.service.references.repository, call.bucket)
    after = call.query.get("continuation-token") or call.query.get("start-after") or ""
    if kind == "1":
        after = call.query.get("marker", "")
    amount = _max_keys(call)
    rows, has_more = await _rows(call, after, amount) if amount else ([], False)
    answer = _v2(call, rows) if kind == "2" else _v1(call, rows, has_more=has_more)
    common: dict[str, Any] = {
        "Name": call.bucket,
        "Prefix": _name(call, call.query.get("prefix", "")),
        "Delimiter": _name(call, call.query["delimiter"]) if call.query.get("delimiter") else None,
        "MaxKeys": amount,
        "IsTruncated": has_more,
        "EncodingType": call.query.get("encoding-type"),
    }
    if kind == "2" and has_more:
        # Tokens are opaque to clients and never url-encoded.
        answer["NextContinuationToken"] = rows[-1].path
    return xml_answer("ListBucketResult", {**common, **answer, **_contents(call, rows)})


async def _rows(call: Call, after: str, amount: int) -> tuple[list[Listed], bool]:
    """Return rows with whole keys (`ref/path`) as their path."""
    prefix = call.query.get("prefix", "").removeprefix("/")
    ref, slash, path = prefix.partition("/")
    if not slash:
        return await _branches(call, prefix, after, amount)
    if after and after.partition("/")[0] != ref:
        raise refusals.bad_request("invalid marker - doesnt start with branch name")
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
    except refusals.Refusal as error:
        if error.status != 404:
            raise
        # The real gateway lists a missing branch as empty in version 1, and refuses it in version 2.
        if call.query.get("list-type") == "2":
            raise refusals.bad_request("400 BadRequest") from error
        return [], False
    return [Listed(f"{ref}/{row.path}", row.entry) for row in rows], has_more


async def _branches(call: Call, prefix: str, after: str, amount: int) -> tuple[list[Listed], bool]:
    names = [name for name, _ in await call.service.run(call.service.references.branches, call.bucket)]
    rows = [Listed(f"{name}/", None) for name in names if name.startswith(prefix) and f"{name}/" > after]
    return rows[:amount], len(rows) > amount


def _name(call: Call, key: str) -> str:
    if call.query.get("encoding-type") == "url":
        return encode_key(key)
    if NOT_XML.search(key):
        raise refusals.bad_request("A key holds characters XML cannot carry; use encoding-type=url", "InvalidArgument")
    return key


def _contents(call: Call, rows: list[Listed]) -> dict[str, Any]:
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


def _v1(call: Call, rows: list[Listed], *, has_more: bool) -> dict[str, Any]:
    # S3 gives NextMarker only with a delimiter; without one the client goes on from the last key.
    goes_on = has_more and bool(call.query.get("delimiter"))
    return {
        "Marker": _name(call, call.query.get("marker", "")),
        "NextMarker": _name(call, rows[-1].path) if goes_on else None,
    }


def _v2(call: Call, rows: list[Listed]) -> dict[str, Any]:
    return {
        "KeyCount": len(rows),
        "ContinuationToken": call.query.get("continuation-token"),
        "StartAfter": _name(call, call.query["start-after"]) if call.query.get("start-after") else None,
    }
