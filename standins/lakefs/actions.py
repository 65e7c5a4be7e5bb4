"""Hooks: webhooks named in `_lakefs_actions/*.yaml`, which may veto changes of a branch.

As in lakeFS, the files are read from the event's source: the branch itself before a commit, the
source commit before a merge. Any response other than 2xx fails the run. A failed pre-event aborts
the operation with 412; a failed post-event is only recorded. Only hooks of type `webhook` run here.
Another type fails its run, so that nothing passes unchecked. A broken file aborts with 500 every
operation that reads it, even an operation that the file does not name.
"""

from __future__ import annotations

import fnmatch
import json
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from standins.lakefs import api_errors
from standins.lakefs.action_files import BrokenAction, parse_action
from standins.lakefs.blocks import read_chunks
from standins.lakefs.model import Core
from standins.lakefs.objects import LakeObjects

FOLDER = "_lakefs_actions/"
# The real server's default. While a pre-hook runs, no other operation can move its branch.
DEFAULT_TIMEOUT_S = 60.0
# At most this much of a webhook's response is kept in the output of its run.
MAX_SHOWN_BYTES = 4096
UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class HookEvent:
    """The event that a webhook receives."""

    repository: str
    branch: str
    source_ref: str
    message: str
    committer: str
    metadata: dict[str, str]
    commit_id: str = ""
    merge_source: str = ""

    def body(self, kind: str, action: str, hook: str) -> bytes:
        """Return the JSON body of the webhook call, with the fields of lakeFS's `EventInfo`."""
        fields = {
            "event_type": kind,
            "event_time": _now(),
            "action_name": action,
            "hook_id": hook,
            "repository_id": self.repository,
            "branch_id": self.branch,
            "source_ref": self.source_ref,
            "commit_id": self.commit_id,
            "commit_message": self.message,
            "committer": self.committer,
            "commit_metadata": self.metadata,
            "merge_source": self.merge_source,
        }
        return json.dumps({name: value for name, value in fields.items() if value}).encode()


@dataclass
class HookRun:
    """One hook of one run."""

    id: str
    action: str
    hook: str
    started: str
    ended: str = ""
    status: str = "completed"
    output: list[str] = field(default_factory=list)
    reason: str = ""

    def fail(self, reason: str) -> None:
        """Record that the hook failed, with its reason."""
        self.status = "failed"
        self.output.append(f"Error: {reason}")
        self.reason = f"hook run id '{self.id}' failed on action '{self.action}' hook '{self.hook}': {reason}"


class Actions:
    """Finds, runs and records hooks."""

    def __init__(self, core: Core, objects: LakeObjects) -> None:
        self._core = core
        self._objects = objects

    def fire(self, kind: str, event: HookEvent, pre_run: str = "") -> str:
        """Run the hooks of an event and return the run id; an empty id when no action matches.

        Raises:
            HookFailed: A hook of a pre-event failed (412), or an action file is broken (500).
        """
        run_id, started, is_pre = new_run_id(), _now(), kind.startswith("pre")
        try:
            matching = [action for action in self._load(event) if _matches(action, kind, event.branch)]
        except BrokenAction as error:
            if not is_pre:  # the pre-event read a valid file, so it broke in between
                return ""
            raise api_errors.HookFailed(kind, run_id, [str(error)], 500) from error
        if not matching:
            return ""
        hooks = [run for at, action in enumerate(matching) for run in self._run_action(at, action, kind, event)]
        failed = [run.reason for run in hooks if run.status == "failed"]
        self._record(event, kind, run_id, started, hooks)
        if failed and is_pre:
            raise api_errors.HookFailed(kind, run_id, failed)
        return run_id

    def _load(self, event: HookEvent) -> list[dict[str, Any]]:
        listed, _ = self._objects.listing(event.repository, event.source_ref, prefix=FOLDER, delimiter="/")
        actions = []
        for row in listed:
            if row.entry and row.path.endswith((".yaml", ".yml")):
                with self._core.blocks.open(row.entry.address, 0) as source:
                    text = b"".join(read_chunks(source, row.entry.size))
                actions.append(parse_action(row.path, text))
        return actions

    def _run_action(self, at: int, action: dict[str, Any], kind: str, event: HookEvent) -> list[HookRun]:
        """Run the hooks of one action in order, up to the first that fails."""
        runs: list[HookRun] = []
        for number, hook in enumerate(action["hooks"]):
            run = HookRun(f"{at:04d}_{number:04d}", action["name"], hook["id"], _now())
            runs.append(run)
            self._run_hook(run, hook, event.body(kind, run.action, run.hook))
            run.ended = _now()
            if run.status == "failed":
                break
        return runs

    @staticmethod
    def _run_hook(run: HookRun, hook: dict[str, Any], body: bytes) -> None:
        if hook["type"] != "webhook":
            run.fail(f"hook type {hook['type']!r} is not implemented by the lakeFS stand-in, only 'webhook'")
            return
        try:
            call_webhook(run, hook["properties"], body)
        except urllib.error.HTTPError as error:
            run.fail(f"action failed: webhook request failed (status code: {error.code})")
            error.close()
        except (OSError, ValueError) as error:
            run.fail(f"action failed: {error}")

    def _record(self, event: HookEvent, kind: str, run_id: str, started: str, hooks: list[HookRun]) -> None:
        status = "failed" if any(run.status == "failed" for run in hooks) else "completed"
        row = (event.repository, run_id, event.branch, event.commit_id, kind, status, started, _now())
        rows = [
            (event.repository, run_id, r.id, r.action, r.hook, r.status, r.started, r.ended, "\n".join(r.output))
            for r in hooks
        ]
        with self._core.database.write() as connection:
            connection.execute("INSERT INTO runs VALUES (?,?,?,?,?,?,?,?)", row)
            connection.executemany("INSERT INTO hook_runs VALUES (?,?,?,?,?,?,?,?,?)", rows)

    # -- reading -----------------------------------------------------------------------------------

    def runs(self, repository: str, branch: str, commit_id: str) -> list[dict[str, str]]:
        """Return the runs of a repository, newest first, by branch and commit where given."""
        query = (
            "SELECT id, branch, commit_id, event, status, started, ended FROM runs WHERE repository = ? "
            "AND (? = '' OR branch = ?) AND (? = '' OR commit_id = ?) ORDER BY id DESC"
        )
        values = (repository, branch, branch, commit_id, commit_id)
        rows = self._core.database.reader().execute(query, values).fetchall()
        names = ("run_id", "branch", "commit_id", "event_type", "status", "start_time", "end_time")
        return [dict(zip(names, row, strict=True)) for row in rows]

    def run(self, repository: str, run_id: str) -> dict[str, str]:
        """Return one run.

        Raises:
            Refusal: 404 when it does not exist.
        """
        for run in self.runs(repository, "", ""):
            if run["run_id"] == run_id:
                return run
        raise api_errors.not_found("run not found")

    def hook_runs(self, repository: str, run_id: str) -> list[dict[str, str]]:
        """Return the hooks of a run in the order they ran."""
        query = "SELECT id, action, hook, status, started, ended FROM hook_runs WHERE repository = ? AND run = ?"
        rows = self._core.database.reader().execute(f"{query} ORDER BY id", (repository, run_id)).fetchall()
        names = ("hook_run_id", "action", "hook_id", "status", "start_time", "end_time")
        return [dict(zip(names, row, strict=True)) for row in rows]

    def output(self, repository: str, run_id: str, hook_run: str) -> str:
        """Return the output of a hook.

        Raises:
            Refusal: 404 when it does not exist.
        """
        query = "SELECT output FROM hook_runs WHERE repository = ? AND run = ? AND id = ?"
        row = self._core.database.reader().execute(query, (repository, run_id, hook_run)).fetchone()
        if row is None:
            raise api_errors.not_found("hook run not found")
        return str(row[0])


def new_run_id() -> str:
    """Return a new run id; ids sort by time."""
    return f"{int(datetime.now(UTC).timestamp() * 1_000_000):016x}{uuid.uuid4().hex[:8]}"


def _matches(action: dict[str, Any], kind: str, branch: str) -> bool:
    if kind not in action["on"]:
        return False
    patterns = (action["on"][kind] or {}).get("branches")
    return not patterns or any(fnmatch.fnmatchcase(branch, pattern) for pattern in patterns)


def call_webhook(run: HookRun, properties: dict[str, Any], body: bytes) -> None:
    """Post an event to a webhook.

    Raises:
        HTTPError: The response is not 2xx.
        OSError: There was no response in time.
        ValueError: The URL or the timeout is malformed.
    """
    url = str(properties.get("url", ""))
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise ValueError(f"expected an http(s) url, was {url!r}")
    query = urllib.parse.urlencode(properties.get("query_params") or {}, doseq=True)
    if query:
        url += ("&" if "?" in url else "?") + query
    headers = {**(properties.get("headers") or {}), "Content-Type": "application/json"}
    request = urllib.request.Request(url, body, headers, method="POST")  # noqa: S310  # scheme checked above
    run.output.append(f"Request:\nPOST {url}\nRequest Body:\n{body.decode()}\n")
    began = time.perf_counter()
    # No proxy: a webhook usually listens on 127.0.0.1, which a proxy from the environment cannot
    # reach.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        response = opener.open(request, timeout=parse_timeout_s(properties.get("timeout")))
    except urllib.error.HTTPError as error:
        run.output.append(_response_text(began, error.code, error.read(MAX_SHOWN_BYTES)))
        raise
    with response:
        run.output.append(_response_text(began, response.status, response.read(MAX_SHOWN_BYTES)))


def _response_text(began: float, status: int, body: bytes) -> str:
    took_ms = (time.perf_counter() - began) * 1000
    return f"\nRequest duration: {took_ms:.3f}ms\n\nResponse:\n{status}\n{body.decode(errors='replace')}"


def parse_timeout_s(text: object) -> float:
    """Return the seconds of a Go duration with a single unit, such as `30s` or `1m`.

    Raises:
        ValueError: The text is no such duration.
    """
    if text in (None, ""):
        return DEFAULT_TIMEOUT_S
    for unit, seconds in UNITS_S.items():
        number = str(text).removesuffix(unit)
        if number != str(text) and number.replace(".", "", 1).isdigit():
            return float(number) * seconds
    raise ValueError(f"expected a duration such as '30s', was {text!r}")


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")
