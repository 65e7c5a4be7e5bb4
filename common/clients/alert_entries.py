"""Rules of alerts and their states in Geode: JSON documents that several processes share.

The API edits rules, the watcher reads them and writes states, and both read states. What a document
holds is decided by `tickhouse/alerts`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from common.clients.geode import RULES, STATES, Geode, Value

# A state's key has slashes, which the REST API does not carry.
_SLASH = "|"


def rules(geode: Geode) -> dict[str, Value]:
    """Return every rule by id. It raises what `Geode.get` raises."""
    return {str(rule["id"]): rule for rule in geode.values(RULES)}


def put_rule(geode: Geode, rule: Value) -> None:
    """Add a rule, or replace the one with its `id`. It raises what `Geode.put_all` raises."""
    geode.put(RULES, str(rule["id"]), rule)


def change_rule(geode: Geode, before: Value | None, after: Value) -> bool:
    """Replace a rule if nobody has changed it since it was read; return whether it was replaced.

    Args:
        geode: A client that may edit rules.
        before: The rule that was read; None to add one.
        after: The new rule, with the same `id`.
    """
    return geode.compare_and_set(RULES, str(after["id"]), before, after)


def remove_rule(geode: Geode, rule_id: str) -> bool:
    """Remove a rule; return whether it was there. It raises what `Geode.put_all` raises."""
    was_there = geode.get(RULES, rule_id) is not None
    geode.delete(RULES, [rule_id])
    return was_there


def add_missing_rules(geode: Geode, given: Iterable[Value]) -> list[str]:
    """Add the rules whose id is not there yet, and return their ids; edited rules stay."""
    return [str(rule["id"]) for rule in given if change_rule(geode, None, rule)]


def states(geode: Geode) -> dict[str, Value]:
    """Return every state by key. It raises what `Geode.get` raises."""
    keys = geode.keys(STATES)
    return {key.replace(_SLASH, "/"): value for key, value in geode.get_all(STATES, keys).items()}


def save_states(geode: Geode, changed: Mapping[str, Value]) -> None:
    """Add states, or replace those with the same keys. It raises what `Geode.put_all` raises."""
    geode.put_all(STATES, {key.replace("/", _SLASH): value for key, value in changed.items()})


def change_state(geode: Geode, key: str, before: Value | None, after: Value) -> bool:
    """Replace a state if nobody has changed it since it was read; return whether it was replaced.

    Of two processes that judge the same moment, only one gets true, and rings.
    """
    return geode.compare_and_set(STATES, key.replace("/", _SLASH), before, after)
