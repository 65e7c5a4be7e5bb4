"""Parse action files: YAML that names hooks by event.

The checks are those of the real server, and short error messages use its words.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from common.errors import TerminalError

# The events of the real server. Those of branches and tags are known here but never fired.
EVENTS = {"prepare-commit"} | {
    f"{moment}-{what}"
    for moment in ("pre", "post")
    for what in (
        *("commit", "merge", "revert", "cherry-pick"),
        *("create-tag", "delete-tag", "create-branch", "delete-branch"),
    )
}
# Hook type to groups of properties; a hook needs one property of each group.
NEEDED: dict[str, tuple[tuple[str, ...], ...]] = {
    "webhook": (("url",),),
    "airflow": (("url",), ("dag_id",), ("username",), ("password",)),
    "lua": (("script", "script_path"),),
}
_NAME = re.compile(r"\w[\w\-. ]+")
_HOOK_ID = re.compile(r"[_a-zA-Z][-_a-zA-Z0-9]{1,255}")


class BrokenAction(TerminalError):
    """An action file is malformed or incomplete."""


def parse_action(path: str, text: bytes) -> dict[str, Any]:
    """Parse an action file into its name, events and hooks (pure).

    Raises:
        BrokenAction: The text is not YAML, or not an action.
    """
    try:
        return _checked(yaml.safe_load(text))
    except (yaml.YAMLError, BrokenAction) as error:
        raise BrokenAction(f"parsing file {path}: {error}") from error


def _checked(document: Any) -> dict[str, Any]:
    fields = document if document is not None else {}
    if not isinstance(fields, dict):
        raise BrokenAction("yaml: expected a mapping")
    name = fields.get("name") or ""
    if not name:
        raise BrokenAction("'name' is required: invalid action")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise BrokenAction("'name' is invalid: invalid action")
    # YAML 1.1 reads a bare `on` as true.
    return {"name": name, "on": _events(fields.get("on", fields.get(True))), "hooks": _hooks(fields.get("hooks"))}


def _events(on: Any) -> dict[str, dict[str, Any]]:
    if not isinstance(on, dict) or not all(rule is None or isinstance(rule, dict) for rule in on.values()):
        raise BrokenAction("'on' is required: invalid action" if not on else "yaml: expected events in 'on'")
    for event, rule in on.items():
        if event not in EVENTS:
            raise BrokenAction(f"event '{event}' is not supported: invalid action")
        branches = (rule or {}).get("branches")
        if branches is not None and not _are_texts(branches):
            raise BrokenAction("yaml: expected a list of patterns in 'branches'")
        if branches and str(event).endswith("-tag"):
            raise BrokenAction("'branches' is not supported in tag event types. invalid event parameter")
    return {event: rule or {} for event, rule in on.items()}


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _hooks(hooks: Any) -> list[dict[str, Any]]:
    if not isinstance(hooks or [], list) or not all(isinstance(hook, dict) for hook in hooks or []):
        raise BrokenAction("yaml: expected a list of mappings in 'hooks'")
    seen: set[str] = set()
    return [_hook(number, hook, seen) for number, hook in enumerate(hooks or [])]


def _hook(number: int, hook: dict[str, Any], seen: set[str]) -> dict[str, Any]:
    name, kind, properties = hook.get("id"), str(hook.get("type")), hook.get("properties")
    if not isinstance(name, str) or not _HOOK_ID.fullmatch(name):
        raise BrokenAction(f"hook[{number}] missing ID: invalid action")
    if name in seen:
        raise BrokenAction(f"hook[{number}] duplicate ID '{name}': invalid action")
    seen.add(name)
    if kind not in NEEDED:
        raise BrokenAction(f"hook[{number}] type '{name}' unknown: invalid action")
    if not isinstance(properties, dict) or not all(_has_one(properties, names) for names in NEEDED[kind]):
        raise BrokenAction(f"hook[{number}] type '{kind}': missing hook properties: invalid action")
    return {"id": name, "type": kind, "properties": properties}


def _has_one(properties: dict[str, Any], names: tuple[str, ...]) -> bool:
    return any(name in properties for name in names)
