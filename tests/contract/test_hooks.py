"""Action files and webhooks: a failed pre-event aborts with 412, and every run is recorded."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import lakefs
import pytest
from lakefs.client import Client
from lakefs.exceptions import ServerException

from tests.contract.server import Endpoint
from tests.contract.test_repositories import message_of


@dataclass
class Webhook:
    """A webhook with a response that the test sets; it records its requests."""

    url: str = ""
    status: int = 200
    seen: list[dict[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    hook = Webhook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            hook.paths.append(self.path)
            hook.seen.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(hook.status)
            self.end_headers()
            self.wfile.write(b"said the webhook")

        def log_message(self, *_: Any) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hook.url = f"http://127.0.0.1:{server.server_address[1]}/check"
    yield hook
    server.shutdown()
    server.server_close()
    thread.join()


def action(url: str, event: str, kind: str = "webhook", branch: str = "main") -> bytes:
    needed = "script: print(1)" if kind == "lua" else f"url: {url}"
    return f"""
name: audit gate
on:
  {event}:
    branches: [{branch}]
hooks:
  - id: first
    type: {kind}
    properties:
      {needed}
      timeout: 10s
      query_params: {{who: me}}
""".encode()


@pytest.fixture
def dev(repo: lakefs.Repository, main: lakefs.Branch, webhook: Webhook) -> lakefs.Branch:
    """A branch with a committed pre-merge action for main."""
    branch = repo.branch("dev").create("main")
    branch.object("_lakefs_actions/gate.yaml").upload(action(webhook.url, "pre-merge"))
    branch.commit("gate", metadata={"run": "1"})
    return branch


def test_pre_merge_blocks_and_passes(
    dev: lakefs.Branch, main: lakefs.Branch, webhook: Webhook, client: Client, repo: lakefs.Repository
) -> None:
    webhook.status = 500
    before = main.head.id
    with pytest.raises(ServerException) as error:
        dev.merge_into("main", message="try", metadata={"k": "v"})
    assert error.value.status_code == 412
    start, _, rest = message_of(error).partition(" hook aborted, run id '")
    assert start == "update branch main: pre-merge"
    reason = "hook run id '0000_0000' failed on action 'audit gate' hook 'first': action failed: webhook request failed"
    assert rest.partition("'")[2] == f": 1 error occurred:\n\t* {reason} (status code: 500)\n\n"
    assert main.head.id == before
    webhook.status = 200
    merged = dev.merge_into("main", message="try", metadata={"k": "v"})
    assert main.head.id == merged

    received = webhook.seen[-1]
    assert (received["event_type"], received["action_name"], received["hook_id"]) == (
        "pre-merge",
        "audit gate",
        "first",
    )
    assert (received["repository_id"], received["branch_id"], received["merge_source"]) == (repo.id, "main", "dev")
    assert (received["commit_message"], received["commit_metadata"]["k"]) == ("try", "v")
    assert (received["source_ref"], received["commit_id"]) == (dev.head.id, merged)
    assert webhook.paths[-1].endswith("/check?who=me")

    api = client.sdk_client.actions_api
    # The real server orders runs by whole seconds.
    runs = {run.status: run for run in api.list_repository_runs(repo.id).results}
    assert {(run.event_type, run.branch) for run in runs.values()} == {("pre-merge", "main")}
    failed = runs["failed"].run_id
    assert api.get_run(repo.id, failed).status == "failed"
    (hook,) = api.list_run_hooks(repo.id, failed).results
    assert (hook.hook_run_id, hook.hook_id, hook.action, hook.status) == ("0000_0000", "first", "audit gate", "failed")
    output = str(api.get_run_hook_output(repo.id, failed, hook.hook_run_id))
    assert "said the webhook" in output
    assert "webhook request failed (status code: 500)" in output


def test_action_of_another_branch_does_not_run(dev: lakefs.Branch, repo: lakefs.Repository, webhook: Webhook) -> None:
    webhook.status = 500
    other = repo.branch("other").create("main")
    dev.merge_into(other)
    assert webhook.seen == []


def test_pre_commit_sees_the_staged_action(main: lakefs.Branch, webhook: Webhook) -> None:
    webhook.status = 403
    main.object("_lakefs_actions/c.yaml").upload(action(webhook.url, "pre-commit"))
    with pytest.raises(ServerException) as error:
        main.commit("no", metadata={"rows": "5"})
    assert error.value.status_code == 412
    assert webhook.seen[0]["commit_metadata"] == {"rows": "5"}
    assert [change.path for change in main.uncommitted()] == ["_lakefs_actions/c.yaml"]
    webhook.status = 200
    main.commit("yes")


def test_post_merge_failure_changes_nothing(main: lakefs.Branch, repo: lakefs.Repository, webhook: Webhook) -> None:
    webhook.status = 500
    dev = repo.branch("dev").create("main")
    dev.object("_lakefs_actions/p.yaml").upload(action(webhook.url, "post-merge"))
    dev.commit("post")
    assert dev.merge_into("main") == main.head.id


def test_webhook_that_is_down_blocks(main: lakefs.Branch, repo: lakefs.Repository) -> None:
    dev = repo.branch("dev").create("main")
    dev.object("_lakefs_actions/gate.yaml").upload(action("http://127.0.0.1:9/", "pre-merge"))
    dev.commit("gate")
    with pytest.raises(ServerException) as error:
        dev.merge_into("main")
    assert error.value.status_code == 412


HOOK = "{id: ab, type: webhook, properties: {url: 'http://127.0.0.1:9/'}}"
# An action file to the end of the real server's reason; empty where Go's YAML parser words it.
BROKEN = {
    "{ not yaml": "",
    "- a\n- b": "",
    f"name: good\non: {{pre-merge: main}}\nhooks: [{HOOK}]": "",
    f"name: good\non: [pre-merge]\nhooks: [{HOOK}]": "",
    "name: good\non: {pre-merge: }\nhooks: nothing": "",
    "name: good\non: {pre-merge: }\nhooks: [one]": "",
    f"on: {{pre-merge: }}\nhooks: [{HOOK}]": "'name' is required: invalid action",
    f"name: x\non: {{pre-merge: }}\nhooks: [{HOOK}]": "'name' is invalid: invalid action",
    f"name: good\nhooks: [{HOOK}]": "'on' is required: invalid action",
    f"name: good\non: {{pre-nonsense: }}\nhooks: [{HOOK}]": "event 'pre-nonsense' is not supported: invalid action",
    f"name: good\non: {{pre-merge: }}\nhooks: [{HOOK}, {HOOK}]": "hook[1] duplicate ID 'ab': invalid action",
    "name: good\non: {pre-merge: }\nhooks: [{id: a, type: webhook}]": "hook[0] missing ID: invalid action",
    "name: good\non: {pre-merge: }\nhooks: [{id: ab, type: odd}]": "hook[0] type 'ab' unknown: invalid action",
    "name: good\non: {pre-merge: }\nhooks: [{id: ab, type: webhook}]": (
        "hook[0] type 'webhook': missing hook properties: invalid action"
    ),
}


@pytest.mark.parametrize("text", BROKEN, ids=range(len(BROKEN)))
def test_broken_action_never_passes(main: lakefs.Branch, text: str) -> None:
    main.object("_lakefs_actions/broken.yaml").upload(text.encode())
    before = main.head.id
    with pytest.raises(ServerException) as error:
        main.commit("broken")
    assert error.value.status_code == 500
    said = message_of(error)
    assert said.startswith("prepare-commit hook aborted, run id '")
    assert "1 error occurred:\n\t* parsing file _lakefs_actions/broken.yaml: " in said
    assert said.endswith(f"{BROKEN[text]}\n\n")
    assert main.head.id == before


def test_other_hook_types_fail_their_run(main: lakefs.Branch, repo: lakefs.Repository, endpoint: Endpoint) -> None:
    if not endpoint.is_standin:
        pytest.skip("real lakeFS runs Lua")
    dev = repo.branch("dev").create("main")
    dev.object("_lakefs_actions/lua.yaml").upload(action("http://unused/", "pre-merge", "lua"))
    dev.commit("lua")
    with pytest.raises(ServerException) as error:
        dev.merge_into("main")
    assert "not implemented by the lakeFS stand-in" in message_of(error)


def test_webhook_may_read_while_the_branch_is_held(
    main: lakefs.Branch, repo: lakefs.Repository, client: Client
) -> None:
    """The merge gate reads the branch that it protects."""
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.extend(row.path for row in repo.ref(received["source_ref"]).objects())
            seen.append(main.head.id)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    before = main.head.id
    dev = repo.branch("dev").create("main")
    url = f"http://127.0.0.1:{server.server_address[1]}/"
    dev.object("_lakefs_actions/gate.yaml").upload(action(url, "pre-merge"))
    dev.commit("gate")
    dev.merge_into("main")
    server.shutdown()
    server.server_close()
    thread.join()
    assert seen == ["_lakefs_actions/gate.yaml", before]
