"""Protect `main`: a branch rule against direct writes, and the action file whose hook asks the gate before a merge.

lakeFS reads a merge's action files from its *source*, so the file is on `main` and `ingest`, and every branch made from
them has it. It also covers reverts and cherry-picks, which the branch rule lets through. It stops
mistakes, not malice: who removes it from a branch of their own and then merges that gets past it, on the real server as
on the stand-in. Against that there is only access control: give people keys that may not merge.
"""

from __future__ import annotations

import time

from lakefs import Branch, Repository
from lakefs.exceptions import ForbiddenException, NotFoundException, api_exception_handler
from lakefs_sdk.client import LakeFSClient
from lakefs_sdk.models.branch_protection_rule import BranchProtectionRule

from tickhouse.lake.client import INGEST, MAIN, client, lake_errors, repository
from tickhouse.settings import Settings

ACTION = "_lakefs_actions/publish.yaml"
# A lakeFS server keeps branch rules in memory for about five seconds.
RULES_SETTLE_S = 15.0

TEMPLATE = """\
# Written by tickhouse/lake/protect.py: nothing reaches {branch} that no audit has passed.
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
    """Put the action file on a branch and on the one that others are made from, and forbid direct writes to the first.

    Idempotent; two small reads when all is in place.

    Raises:
        ConfigurationError: lakeFS refuses the keys, or has no such repository or branch.
        StoreUnavailable: lakeFS does not answer.
    """
    text = TEMPLATE.format(branch=branch, url=settings.lake_gate_url)
    with lake_errors(settings):
        lake, sdk = repository(settings), client(settings).sdk_client
        rules = _rules(sdk, lake)
        if not _has(lake.branch(branch), text):
            _set_rules(sdk, lake, [rule for rule in rules if rule.pattern != branch])
            _write_when_allowed(lake.branch(branch), text)
            rules = _rules(sdk, lake)
        if branch not in {rule.pattern for rule in rules}:
            _set_rules(sdk, lake, [*rules, BranchProtectionRule(pattern=branch)])
        if not _has(lake.branch(also), text):
            _write(lake.branch(also), text)


def _rules(sdk: LakeFSClient, lake: Repository) -> list[BranchProtectionRule]:
    with api_exception_handler():
        return list(sdk.repositories_api.get_branch_protection_rules(lake.id))


def _set_rules(sdk: LakeFSClient, lake: Repository, rules: list[BranchProtectionRule]) -> None:
    with api_exception_handler():
        sdk.repositories_api.set_branch_protection_rules(lake.id, rules)


def _has(branch: Branch, text: str) -> bool:
    try:
        with branch.object(ACTION).reader(mode="r") as reader:
            return bool(reader.read() == text)
    except NotFoundException:
        return False


def _write(branch: Branch, text: str) -> None:
    branch.object(ACTION).upload(text, mode="w")
    branch.commit("Ask the gate before a merge into main")


def _write_when_allowed(branch: Branch, text: str) -> None:
    deadline = time.monotonic() + RULES_SETTLE_S
    while True:
        try:
            return _write(branch, text)
        except ForbiddenException:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
