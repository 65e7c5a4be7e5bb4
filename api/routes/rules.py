"""Rules of alerts: read them, and edit those in Geode."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from pydantic import Field, RootModel
from starlette.responses import Response

from api.answers import encoded, page, tagged
from api.models import AnswerPage
from api.parameters import Parameters
from api.problems import ApiProblem
from api.routes.common import MAY_CHANGE_RULES, MAY_READ, Server, Serving, problems
from common.errors import UnknownName
from stack.engine.enabled import is_statistics_enabled
from tickhouse.alerts.rule_stores import GeodeRules, present_rules, rule_file
from tickhouse.alerts.rules import Rule, rule_document
from tickhouse.known_names import nearest_names, shown

router = APIRouter(prefix="/v1/alert-rules", tags=["alerts"], responses=problems())
RuleId = Annotated[str, Path(pattern=r"^[a-z0-9_]{1,64}$", examples=["price_move_5m"])]


class RuleDocument(RootModel[Annotated[Rule, Field(discriminator="kind")]]):
    """A rule of one of the kinds."""


class RulesParameters(Parameters):
    """The rules take no parameter."""


@router.get("", response_model=AnswerPage[RuleDocument], summary="Rules of alerts", dependencies=MAY_READ)
async def rules(request: Request, _: Annotated[RulesParameters, Query()], server: Serving) -> Response:
    """Return every rule, by id."""
    settings = server.stores.settings
    found = await server.stores.reads.run(lambda: present_rules(settings).rules())
    return tagged(request, encoded(page([rule_document(found[name]) for name in sorted(found)])), {})


@router.get("/{rule_id}", response_model=RuleDocument, summary="One rule", dependencies=MAY_READ)
async def rule(request: Request, rule_id: RuleId, server: Serving) -> Response:
    """Return one rule."""
    settings = server.stores.settings
    found = await server.stores.reads.run(lambda: present_rules(settings).rules())
    if rule_id not in found:
        raise unknown(rule_id, found)
    return tagged(request, encoded(rule_document(found[rule_id])), {})


@router.put(
    "/{rule_id}", response_model=RuleDocument, summary="Add or replace a rule",
    dependencies=MAY_CHANGE_RULES, responses=problems(413),
)  # fmt: skip
async def put(rule_id: RuleId, document: RuleDocument, server: Serving) -> Response:
    """Store a rule; the watcher judges by it within seconds. It needs Geode."""
    wanted = document.root
    if wanted.id != rule_id:
        detail = f"The address names rule {rule_id}, the document {wanted.id}."
        raise ApiProblem(409, "refused", detail, "use the same id in both")
    store = await _editable(server)
    await server.stores.reads.run(lambda: store.put(wanted))
    return Response(encoded(rule_document(wanted)), media_type="application/json")


@router.delete(
    "/{rule_id}", status_code=204, response_class=Response, summary="Remove a rule", dependencies=MAY_CHANGE_RULES
)
async def delete(rule_id: RuleId, server: Serving) -> Response:
    """Remove a rule. It needs Geode."""
    store = await _editable(server)
    known: dict[str, Any] = await server.stores.reads.run(store.rules)
    if rule_id in known and len(known) == 1:
        detail = f"{rule_id} is the last rule; without any, the rules of the file hold again."
        raise ApiProblem(409, "refused", detail, "set is_enabled to false instead")
    if not await server.stores.reads.run(lambda: store.remove(rule_id)):
        raise unknown(rule_id, known)
    return Response(status_code=204)


def unknown(rule_id: str, known: dict[str, Any]) -> UnknownName:
    """Return the error that names the nearest rules."""
    near = nearest_names(rule_id, known)
    return UnknownName(f"There is no rule {shown(rule_id)}. The nearest: {near}.", next_command="GET /v1/alert-rules")


async def _editable(server: Server) -> GeodeRules:
    """Return the store in which rules can be edited.

    Raises:
        Problem: Geode is not enabled.
    """
    settings = server.stores.settings
    if not await server.stores.reads.run(lambda: is_statistics_enabled(settings)):
        raise ApiProblem(
            503, "store-off", "Rules are edited in Geode, which is not enabled.", "tickhouse up --service geode"
        )
    return GeodeRules(settings, rule_file(settings))
