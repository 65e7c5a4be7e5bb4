"""Commits and audits of the lake."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from pydantic import Field
from starlette.responses import Response

from api.answers import cached, page, utc_text
from api.cache import Cacheable
from api.models import AnswerPage, CommitAnswer, LakeAudit
from api.parameters import Parameters, Reference
from api.routes.common import COMMIT_HEADER, COMMIT_TTL_S, MAY_READ, Serving, problems
from tickhouse.lake import audit_verdict, refs

if TYPE_CHECKING:
    from lakefs.models import Commit

router = APIRouter(prefix="/v1/lake", tags=["lake"], dependencies=MAY_READ, responses=problems())
# Commits of `main` in which verdicts are looked for: a publication has about three.
MOST_LOOKED_AT: Final = 500


class CommitParameters(Parameters):
    """Which commits."""

    ref: Reference = "main"
    limit: Annotated[int, Field(ge=1, le=200, description="Most rows of the answer")] = 50
    cursor: Annotated[
        str | None, Field(pattern="^[0-9a-f]{64}$", description="`next` of the answer before; replaces `ref`")
    ] = None


class AuditParameters(Parameters):
    """Which audits."""

    ref: Reference = "main"
    limit: Annotated[int, Field(ge=1, le=200, description="Most rows of the answer")] = 50


@router.get("/commits", response_model=AnswerPage[CommitAnswer], summary="Commits of the lake, newest first")
async def commits(request: Request, asked: Annotated[CommitParameters, Query()], server: Serving) -> Response:
    """Return the history of a branch, tag or commit."""
    lake = await server.lake.at(asked.cursor or asked.ref)

    async def compute() -> dict[str, Any]:
        found = await server.stores.reads.run(lambda: refs.log(server.stores.settings, lake.commit_id, asked.limit + 1))
        following = found[asked.limit].id if len(found) > asked.limit else None
        return page([commit_document(one) for one in found[: asked.limit]], following)

    how = Cacheable(f"commits:{asked.limit}:{lake.commit_id}", COMMIT_TTL_S, {COMMIT_HEADER: lake.commit_id})
    return await cached(request, server.stores.cache, how, compute)


@router.get("/audits", response_model=AnswerPage[LakeAudit], summary="Audits of the lake, newest first")
async def audits(request: Request, asked: Annotated[AuditParameters, Query()], server: Serving) -> Response:
    """Return the verdicts in the history of a branch, tag or commit."""
    lake = await server.lake.at(asked.ref)

    async def compute() -> dict[str, Any]:
        settings = server.stores.settings
        found = await server.stores.reads.run(lambda: refs.log(settings, lake.commit_id, MOST_LOOKED_AT))
        verdicts = [one for one in found if audit_verdict.OK in (one.metadata or {})]
        return page([_audit(one) for one in verdicts[: asked.limit]])

    how = Cacheable(f"audits:{asked.limit}:{lake.commit_id}", COMMIT_TTL_S, {COMMIT_HEADER: lake.commit_id})
    return await cached(request, server.stores.cache, how, compute)


def commit_document(commit: Commit) -> dict[str, Any]:
    """Return a commit as JSON-ready values."""
    return {
        "commit": commit.id,
        "created_at": _created(commit),
        "message": commit.message,
        "parents": list(commit.parents),
        "metadata": dict(commit.metadata or {}),
    }


def _audit(commit: Commit) -> dict[str, Any]:
    metadata = dict(commit.metadata or {})
    return {
        "commit": commit.id,
        "of": metadata.get(audit_verdict.OF, ""),
        "at": _created(commit),
        "ok": metadata[audit_verdict.OK] == "true",
        "report": metadata.get(audit_verdict.REPORT, ""),
        "warnings": list(audit_verdict.warnings_in(metadata)),
    }


def _created(commit: Commit) -> str:
    return utc_text(datetime.fromtimestamp(commit.creation_date, UTC))
