"""API handlers of server, repositories, branches, tags and protection rules."""

from __future__ import annotations

import time

from aiohttp import web

from standins.lakefs import api_errors
from standins.lakefs.api_common import SERVICE, TOKEN_LIFE_S, Json, commit_json, make_token, page, read_json, text_map
from standins.lakefs.model import Repository

VERSION = "tickhouse-stand-in-1"
COMMITTER = "admin"


def repository_json(repository: Repository) -> Json:
    """Return a repository as the API shows it."""
    return {
        "id": repository.name,
        "creation_date": repository.created,
        "default_branch": repository.default_branch,
        "storage_id": "",
        "storage_namespace": repository.namespace,
        "read_only": repository.read_only,
    }


def ref_json(row: tuple[str, str]) -> Json:
    """Return a branch or tag as the API shows it."""
    return {"id": row[0], "commit_id": row[1]}


# -- server ----------------------------------------------------------------------------------------


async def healthcheck(_: web.Request) -> web.Response:
    """Return 204 (no credentials needed)."""
    return web.Response(status=204)


async def setup_state(_: web.Request) -> web.Response:
    """Report that the server is set up (no credentials needed)."""
    return web.json_response({"state": "initialized", "comm_prefs_missing": False})


async def login(request: web.Request) -> web.Response:
    """Return a token for the key pair in the body (no other credentials needed)."""
    keys = request.app[SERVICE].keys
    body = await read_json(request, ("access_key_id", "secret_access_key"))
    if (body["access_key_id"], body["secret_access_key"]) != (keys.access_key_id, keys.secret_access_key):
        raise api_errors.unauthorized()
    expires = int(time.time()) + TOKEN_LIFE_S
    return web.json_response({"token": make_token(keys, expires), "token_expiration": expires})


def storage_json(request: web.Request) -> Json:
    """Return the storage configuration: no presigned transfers, no imports."""
    kind = request.app[SERVICE].core.blocks.kind
    return {
        "blockstore_type": kind,
        "blockstore_namespace_example": f"{kind}://example-bucket/",
        "blockstore_namespace_ValidityRegex": f"^{kind}://",
        "default_namespace_prefix": f"{kind}://",
        "pre_sign_support": False,
        "pre_sign_support_ui": False,
        "import_support": False,
        "import_validity_regex": "^$",
        "pre_sign_multipart_upload": False,
    }


def version_json() -> Json:
    """Return the version configuration, which names this server a stand-in."""
    return {"version": VERSION, "version_context": "lakeFS stand-in of Tickhouse", "upgrade_recommended": False}


async def config(request: web.Request) -> web.Response:
    """Return the server configuration."""
    return web.json_response({"version_config": version_json(), "storage_config": storage_json(request)})


async def config_storage(request: web.Request) -> web.Response:
    """Return the storage configuration."""
    return web.json_response(storage_json(request))


async def config_version(_: web.Request) -> web.Response:
    """Return the version."""
    return web.json_response(version_json())


async def user(request: web.Request) -> web.Response:
    """Return the one user."""
    return web.json_response({"user": {"id": COMMITTER, "creation_date": 0, "friendly_name": COMMITTER}})


# -- repositories ----------------------------------------------------------------------------------


async def list_repositories(request: web.Request) -> web.Response:
    """Return a page of repositories."""
    service = request.app[SERVICE]
    rows = await service.run(service.references.repositories)
    return page(request, rows, lambda row: row.name, repository_json)


async def create_repository(request: web.Request) -> web.Response:
    """Create a repository."""
    service = request.app[SERVICE]
    body = await read_json(request, ("name", "storage_namespace"))
    default = body.get("default_branch") or "main"
    name, namespace, read_only = str(body["name"]), str(body["storage_namespace"]), bool(body.get("read_only"))
    if body.get("sample_data"):
        raise api_errors.not_implemented("sample_data")
    new = Repository(name, namespace, default, service.core.now(), read_only, {}, ())
    created = await service.run(service.references.create_repository, new, COMMITTER)
    return web.json_response(repository_json(created), status=201)


async def _repository(request: web.Request) -> Repository:
    service = request.app[SERVICE]
    return await service.run(service.references.repository, request.match_info["repository"])


async def get_repository(request: web.Request) -> web.Response:
    """Return one repository."""
    return web.json_response(repository_json(await _repository(request)))


async def delete_repository(request: web.Request) -> web.Response:
    """Delete a repository."""
    service = request.app[SERVICE]
    await service.run(service.references.delete_repository, request.match_info["repository"])
    return web.Response(status=204)


async def get_metadata(request: web.Request) -> web.Response:
    """Return a repository's metadata."""
    return web.json_response((await _repository(request)).metadata)


async def set_metadata(request: web.Request) -> web.Response:
    """Add to a repository's metadata."""
    service, repository = request.app[SERVICE], await _repository(request)
    added = text_map((await read_json(request, ("metadata",)))["metadata"])
    merged = {**repository.metadata, **added}
    await service.run(service.references.set_repository_field, repository.name, "metadata", merged)
    return web.Response(status=201)


async def delete_metadata(request: web.Request) -> web.Response:
    """Remove keys from a repository's metadata."""
    service, repository = request.app[SERVICE], await _repository(request)
    keys = (await read_json(request, ("keys",)))["keys"]
    kept = {name: value for name, value in repository.metadata.items() if name not in keys}
    await service.run(service.references.set_repository_field, repository.name, "metadata", kept)
    return web.Response(status=204)


async def get_protection(request: web.Request) -> web.Response:
    """Return the branch protection rules."""
    return web.json_response([{"pattern": rule} for rule in (await _repository(request)).protection])


async def set_protection(request: web.Request) -> web.Response:
    """Replace the branch protection rules.

    They apply from the next request on (lakeFS: within about 5 s).
    """
    service = request.app[SERVICE]
    try:
        patterns = [str(rule["pattern"]) for rule in await request.json()]
    except (ValueError, TypeError, KeyError) as error:
        raise api_errors.bad_request("expected a list of rules with a pattern") from error
    if not all(patterns):
        raise api_errors.bad_request("expected a pattern of at least one character")
    name = request.match_info["repository"]
    await service.run(service.references.set_repository_field, name, "protection", patterns)
    return web.Response(status=204)


async def get_gc_rules(request: web.Request) -> web.Response:
    """Return the rules of garbage collection; 404 when there are none."""
    service = request.app[SERVICE]
    rules = await service.run(service.references.gc_rules, request.match_info["repository"])
    if rules is None:
        raise api_errors.not_found("garbage collection rules not found")
    return web.json_response(rules)


async def set_gc_rules(request: web.Request) -> web.Response:
    """Replace the rules of garbage collection, from the next collection on."""
    service = request.app[SERVICE]
    body = await read_json(request, ("default_retention_days",))
    branches = body.get("branches") or []
    try:
        rules = {
            "default_retention_days": _days(body["default_retention_days"]),
            "branches": [
                {"branch_id": str(rule["branch_id"]), "retention_days": _days(rule["retention_days"])}
                for rule in branches
            ],
        }
    except (TypeError, KeyError) as error:
        raise api_errors.bad_request("expected a list of branches with branch_id and retention_days") from error
    await service.run(service.references.set_gc_rules, request.match_info["repository"], rules)
    return web.Response(status=204)


def _days(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise api_errors.bad_request(f"expected a number of days of 1 or more, was {value!r}")
    return value


async def delete_gc_rules(request: web.Request) -> web.Response:
    """Remove the rules of garbage collection; without rules nothing committed is removed."""
    service = request.app[SERVICE]
    await service.run(service.references.set_gc_rules, request.match_info["repository"], None)
    return web.Response(status=204)


# -- branches and tags -----------------------------------------------------------------------------


async def list_branches(request: web.Request) -> web.Response:
    """Return a page of branches."""
    service = request.app[SERVICE]
    rows = await service.run(service.references.branches, request.match_info["repository"])
    return page(request, rows, lambda row: row[0], ref_json)


async def create_branch(request: web.Request) -> web.Response:
    """Create a branch and return its commit id as text."""
    service, repository = request.app[SERVICE], await _repository(request)
    body = await read_json(request, ("name", "source"))
    commit = await service.run(service.references.create_branch, repository, str(body["name"]), str(body["source"]))
    return web.Response(status=201, text=commit.id, content_type="text/html")


async def get_branch(request: web.Request) -> web.Response:
    """Return one branch."""
    service, info = request.app[SERVICE], request.match_info
    branch = await service.run(service.references.branch, info["repository"], info["branch"])
    return web.json_response(ref_json((branch.name, branch.head)))


async def delete_branch(request: web.Request) -> web.Response:
    """Delete a branch."""
    service, repository = request.app[SERVICE], await _repository(request)
    await service.run_history(service.references.delete_branch, repository, request.match_info["branch"])
    return web.Response(status=204)


async def list_tags(request: web.Request) -> web.Response:
    """Return a page of tags."""
    service = request.app[SERVICE]
    rows = await service.run(service.references.tags, request.match_info["repository"])
    return page(request, rows, lambda row: row[0], ref_json)


async def create_tag(request: web.Request) -> web.Response:
    """Create a tag."""
    service, repository = request.app[SERVICE], await _repository(request)
    body = await read_json(request, ("id", "ref"))
    commit = await service.run(service.references.create_tag, repository, str(body["id"]), str(body["ref"]))
    return web.json_response(ref_json((str(body["id"]), commit.id)), status=201)


async def get_tag(request: web.Request) -> web.Response:
    """Return one tag."""
    service, info = request.app[SERVICE], request.match_info
    commit_id = await service.run(service.references.tag, info["repository"], info["tag"])
    return web.json_response(ref_json((info["tag"], commit_id)))


async def delete_tag(request: web.Request) -> web.Response:
    """Delete a tag."""
    service, info = request.app[SERVICE], request.match_info
    await service.run(service.references.delete_tag, info["repository"], info["tag"])
    return web.Response(status=204)


async def get_commit(request: web.Request) -> web.Response:
    """Return one commit, by any reference."""
    service, info = request.app[SERVICE], request.match_info
    resolved = await service.run(service.references.resolve, info["repository"], info["commit"])
    return web.json_response(commit_json(resolved.commit))
