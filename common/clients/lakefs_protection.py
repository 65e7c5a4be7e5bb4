"""Protect `main` by a branch rule against direct writes and an action that calls the merge gate.

lakeFS reads the action files of a merge from its *source*. So the action file is on `main` and
`ingest`, and every branch made from them has it. The action also covers reverts and cherry-picks,
which the branch rule allows.

This prevents mistakes, not attacks. Somebody who removes the file from a branch of their own can
merge that branch, on the real server as on the stand-in. Only access control prevents that: give
people keys that may not merge.
"""

from __future__ import annotations

from lakefs import Branch, Repository
from lakefs.exceptions import ForbiddenException, NotFoundException, api_exception_handler
from lakefs_sdk.client import LakeFSClient
from lakefs_sdk.models.branch_protection_rule import BranchProtectionRule

from common.clients.lakefs import INGEST, MAIN, client, lake_errors, repository
from common.polling import poll_until
from common.settings import Settings

ACTION = "_lakefs_actions/publish.yaml"
# A lakeFS server caches branch rules for about five seconds, so it may still apply a rule that
# was removed.
RULES_CACHED_S = 15.0

TEMPLATE = """\
# Written by common/clients/lakefs_protection.py: nothing reaches {branch} that no audit has passed.
name: publish
on:
  pre-merge: {{branches: [{branch}]}}
  pre-revert: {{branches: [{branch}]}}
  pre-cherry-pick: {{branches: [{branch}]}}
hooks:
  - id: audit
    type: webhook
    properties: {{url: "{url}/publish", timeout: 30s}}
"""


def protect(settings: Settings, branch: str = MAIN, also: str = INGEST) -> None:
    """Write the action file to a branch and to `also`, and forbid direct writes to the branch.

    `also` is the branch that others are made from. Idempotent: two small reads when nothing is
    missing.

    Raises:
        ConfigurationError: lakeFS refuses the keys, or has no such repository or branch.
        StoreUnavailable: lakeFS does not answer.
    """
    text = TEMPLATE.format(branch=branch, url=settings.lake_gate_url)
    with lake_errors(settings):
        lake, sdk = repository(settings), client(settings).sdk_client
        rules = _rules(sdk, lake)
        if not _has_action(lake.branch(branch), text):
            _set_rules(sdk, lake, [rule for rule in rules if rule.pattern != branch])
            _write_action_when_allowed(lake.branch(branch), text)
            rules = _rules(sdk, lake)
        if branch not in {rule.pattern for rule in rules}:
            _set_rules(sdk, lake, [*rules, BranchProtectionRule(pattern=branch)])
        if not _has_action(lake.branch(also), text):
            _write_action(lake.branch(also), text)


def _rules(sdk: LakeFSClient, lake: Repository) -> list[BranchProtectionRule]:
    with api_exception_handler():
        return list(sdk.repositories_api.get_branch_protection_rules(lake.id))


def _set_rules(sdk: LakeFSClient, lake: Repository, rules: list[BranchProtectionRule]) -> None:
    with api_exception_handler():
        sdk.repositories_api.set_branch_protection_rules(lake.id, rules)


def _has_action(branch: Branch, text: str) -> bool:
    try:
        with branch.object(ACTION).reader(mode="r") as reader:
            return bool(reader.read() == text)
    except NotFoundException:
        return False


def _write_action(branch: Branch, text: str) -> None:
    branch.object(ACTION).upload(text, mode="w")
    branch.commit("Ask the gate before a merge into main")


def _write_action_when_allowed(branch: Branch, text: str) -> None:
    """Write the file as soon as the server applies the removal of the branch rule."""

    def is_written() -> bool:
        try:
            _write_action(branch, text)
        except ForbiddenException:
            return False
        return True

    if not poll_until(is_written, RULES_CACHED_S):
        _write_action(branch, text)  # the last try; its error goes to the caller
