"""API handlers of commits, diffs, merges, reverts, resets and hook runs."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from aiohttp import web

from standins.lakefs import api_errors
from standins.lakefs.api_common import (
    SERVICE,
    Json,
    commit_json,
    page,
    pagination,
    query_amount,
    query_flag,
    read_json,
    text_map,
)
from standins.lakefs.api_repositories import COMMITTER
from standins.lakefs.branch_history import CommitOverrides
from standins.lakefs.diffs import DiffRow, group_by_prefix
from standins.lakefs.model import Commit
from standins.lakefs.references import NewCommit
from standins.lakefs.service import LakeFsStandIn
from standins.lakefs.tree_merge import MergeRequest


async def commit(request: web.Request) -> web.Response:
    """Commit a branch."""
    service, info = request.app[SERVICE], request.match_info
    body = await read_json(request, ("message",))
    if request.query.get("source_metarange"):
        raise api_errors.not_implemented("source_metarange")
    created = body["date"] if isinstance(body.get("date"), int) else service.core.now()
    new = NewCommit(str(body["message"]), COMMITTER, text_map(body.get("metadata")), created)
    made = await service.run_history(
        service.history.commit, info["repository"], info["branch"], new, allow_empty=bool(body.get("allow_empty"))
    )
    return web.json_response(commit_json(made), status=201)


async def merge(request: web.Request) -> web.Response:
    """Merge a reference into a branch; a conflict is 409 with an empty result."""
    service, info = request.app[SERVICE], request.match_info
    body = await read_json(request)
    message, metadata = str(body.get("message") or ""), text_map(body.get("metadata"))
    wanted = MergeRequest(
        NewCommit(message, COMMITTER, metadata, service.core.now()),
        str(body.get("strategy") or ""),
        squash=bool(body.get("squash_merge")),
        allow_empty=bool(body.get("allow_empty")),
        force=bool(body.get("force")),
    )
    target = (info["repository"], info["source"], info["destination"])
    try:
        made = await service.run_history(service.history.merge, *target, wanted)
    except api_errors.MergeConflict:
        return web.json_response({"reference": ""}, status=409)
    return web.json_response({"reference": made.id})


async def find_merge_base(request: web.Request) -> web.Response:
    """Return the merge base of a reference and a branch."""
    service, info = request.app[SERVICE], request.match_info

    def find() -> Json:
        source = service.references.resolve(info["repository"], info["source"]).commit
        destination = service.references.resolve(info["repository"], info["destination"]).commit
        base = service.history.merge_base(info["repository"], source, destination)
        # The real server swaps the two names, so the stand-in does too.
        ids = {"source_commit_id": destination.id, "destination_commit_id": source.id}
        return {**ids, "base_commit_id": base.id}

    return web.json_response(await service.run(find))


def _parent_number(body: Json) -> int | None:
    number = body.get("parent_number")
    if number is not None and (not isinstance(number, int) or number < 0):
        raise api_errors.bad_request(f"expected a parent_number of 0 or more, was {number!r}")
    return number


def _overrides(body: Json) -> CommitOverrides:
    given = body.get("commit_overrides") or {}
    return CommitOverrides(given.get("message"), text_map(given.get("metadata")))


async def revert(request: web.Request) -> web.Response:
    """Undo a commit on a branch."""
    service, info = request.app[SERVICE], request.match_info
    body = await read_json(request, ("ref", "parent_number"))
    overrides = _overrides(body)
    message = overrides.message or f"Revert {body['ref']}"
    new = NewCommit(message, COMMITTER, overrides.metadata, service.core.now())
    await service.run_history(
        service.history.revert,
        info["repository"],
        info["branch"],
        str(body["ref"]),
        parent_number=_parent_number(body) or 0,
        new=new,
        allow_empty=bool(body.get("allow_empty")),
    )
    return web.Response(status=204)


async def cherry_pick(request: web.Request) -> web.Response:
    """Repeat a commit's changes on a branch."""
    service, info = request.app[SERVICE], request.match_info
    body = await read_json(request, ("ref",))
    made = await service.run_history(
        service.history.cherry_pick,
        info["repository"],
        info["branch"],
        str(body["ref"]),
        parent_number=_parent_number(body),
        committer=COMMITTER,
        overrides=_overrides(body),
    )
    return web.json_response(commit_json(made), status=201)


async def reset(request: web.Request) -> web.Response:
    """Drop uncommitted changes."""
    service, info = request.app[SERVICE], request.match_info
    body = await read_json(request, ("type",))
    kind, path = body["type"], body.get("path")
    if kind not in ("object", "common_prefix", "reset") or (kind != "reset" and not path):
        raise api_errors.bad_request(f"unknown reset type {kind!r}, or its path is missing")
    await service.run_history(
        service.objects.reset,
        info["repository"],
        info["branch"],
        path=path if kind == "object" else None,
        prefix=path if kind == "common_prefix" else None,
    )
    return web.Response(status=204)


async def hard_reset(request: web.Request) -> web.Response:
    """Move a branch to another commit."""
    service, info = request.app[SERVICE], request.match_info
    ref = request.query.get("ref", "")
    await service.run_history(service.history.hard_reset, info["repository"], info["branch"], ref)
    return web.Response(status=204)


# -- reading ---------------------------------------------------------------------------------------


def _differences(request: web.Request, rows: Iterable[DiffRow]) -> web.Response:
    amount, after = query_amount(request), request.query.get("after", "")
    grouped = group_by_prefix(rows, request.query.get("prefix", ""), request.query.get("delimiter", ""))
    chosen = list(islice((row for row in grouped if row.path > after), amount + 1))
    results = [row.json() for row in chosen[:amount]]
    last = results[-1]["path"] if results else ""
    has_more = len(chosen) > amount
    return web.json_response({"pagination": pagination(len(results), last, has_more=has_more), "results": results})


async def diff_branch(request: web.Request) -> web.Response:
    """Return a page of a branch's uncommitted changes."""
    service, info = request.app[SERVICE], request.match_info
    query = request.query
    rows = await service.run(
        service.objects.uncommitted,
        info["repository"],
        info["branch"],
        prefix=query.get("prefix", ""),
        # With a delimiter many rows become one, so the rows to read cannot be counted beforehand.
        after="" if query.get("delimiter") else query.get("after", ""),
        limit=None if query.get("delimiter") else query_amount(request) + 1,
    )
    return _differences(request, [DiffRow.of(row.path, row.old, row.new) for row in rows])


async def diff_refs(request: web.Request) -> web.Response:
    """Return a page of what the right reference changed.

    The changes are those since the merge base, or with `two_dot` since the left reference.
    """
    service, info = request.app[SERVICE], request.match_info
    kind = request.query.get("type", "three_dot")
    if kind not in ("two_dot", "three_dot"):
        raise api_errors.bad_request(f"unknown diff type {kind!r}")
    rows = await service.run(
        service.diffs.between, info["repository"], info["left"], info["right"], three_dot=kind == "three_dot"
    )
    return _differences(request, rows)


def _log(service: LakeFsStandIn, request: web.Request) -> tuple[list[Commit], bool]:
    query, repository = request.query, request.match_info["repository"]
    amount, after = query_amount(request), query.get("after", "")
    reference = service.references.resolve(repository, request.match_info["ref"])
    stop = service.references.resolve(repository, query["stop_at"]).commit.id if query.get("stop_at") else ""
    objects, prefixes = query.getall("objects", []), query.getall("prefixes", [])
    chosen: list[Commit] = []
    is_in_page = not after
    for commit in service.history.log(reference, first_parent=query_flag(request, "first_parent")):
        is_unfiltered = not (objects or prefixes)
        if is_in_page and (is_unfiltered or service.diffs.is_touched(repository, commit, objects, prefixes)):
            chosen.append(commit)
        is_in_page = is_in_page or commit.id == after
        if len(chosen) > amount or (stop and commit.id == stop):
            break
    return chosen[:amount], len(chosen) > amount


async def log(request: web.Request) -> web.Response:
    """Return a page of commits, newest first."""
    rows, has_more = await request.app[SERVICE].run(_log, request.app[SERVICE], request)
    has_more = has_more and not query_flag(request, "limit")
    last = rows[-1].id if rows else ""
    results = [commit_json(row) for row in rows]
    return web.json_response({"pagination": pagination(len(rows), last, has_more=has_more), "results": results})


async def list_runs(request: web.Request) -> web.Response:
    """Return a page of hook runs, newest first."""
    service, query = request.app[SERVICE], request.query
    repository = (await service.run(service.references.repository, request.match_info["repository"])).name
    rows = await service.run(service.actions.runs, repository, query.get("branch", ""), query.get("commit", ""))
    amount, after = query_amount(request), query.get("after", "")
    older = [row for row in rows if not after or row["run_id"] < after]
    last = older[:amount][-1]["run_id"] if older else ""
    body = pagination(len(older[:amount]), last, has_more=len(older) > amount)
    return web.json_response({"pagination": body, "results": older[:amount]})


async def get_run(request: web.Request) -> web.Response:
    """Return one hook run."""
    service, info = request.app[SERVICE], request.match_info
    return web.json_response(await service.run(service.actions.run, info["repository"], info["run"]))


async def list_hook_runs(request: web.Request) -> web.Response:
    """Return a page of the hooks of a run."""
    service, info = request.app[SERVICE], request.match_info
    await service.run(service.actions.run, info["repository"], info["run"])
    rows = await service.run(service.actions.hook_runs, info["repository"], info["run"])
    return page(request, rows, lambda row: row["hook_run_id"], dict)


async def hook_output(request: web.Request) -> web.Response:
    """Return the output of a hook."""
    service, info = request.app[SERVICE], request.match_info
    text = await service.run(service.actions.output, info["repository"], info["run"], info["hook"])
    return web.Response(text=text)
